// Package alerts is the contract of the stream of alerts: what is unusual at a location,
// from when until when. A location is full, is busier than usual, or is silent while
// guests are expected there.
//
// It holds the events' types, their CloudEvents encoding, subjects, JSON Schema and
// AsyncAPI document. Of the project it imports events alone, and no NATS client; package
// consumers/alert makes these events.
//
// # What can be relied on
//
// Of one alert there is one Raised, and later one Cleared, each exactly once in the
// stream whatever was restarted. A rule has at most one alert at a location that is
// raised and not cleared. Nothing is raised or cleared on figures that may be old: the
// whole interval of Alert.Low to Alert.High, in which the present figure lies as far as
// that is known, is beyond the threshold.
package alerts
