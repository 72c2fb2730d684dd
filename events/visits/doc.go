// Package visits is the contract of the stream of visits: what guestflow publishes
// about guests rather than sessions. A visit is a guest's time at a place, over as many
// sessions as the guest's devices have there, as long as no silence between them is
// longer than the configured gap.
//
// It holds the events' types, their CloudEvents encoding, subjects, JSON Schema and
// AsyncAPI document. Of the project it imports events alone, and no NATS client; package
// consumers/visit makes these events, and a downstream program reads them with any NATS
// client and Decode.
//
// # What can be relied on
//
// Of one visit the kinds come in the order
//
//	started → (counted | stayed)* → ended → lapsed
//
// where counted and lapsed may be missing, and Data.Revision counts 1, 2, 3 … without gaps. The stream holds each event exactly
// once; the same visit has the same ids whatever was restarted. An event is published
// when it is certain: a stay once nothing can show any more that the guest left before,
// an end once the gap is over and nobody can come back within it.
package visits
