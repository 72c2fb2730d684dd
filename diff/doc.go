// Package diff finds out what changed: from what was known and what a snapshot
// shows to the events of the change. It is pure: no I/O, no clock, no goroutine;
// the same input always gives the same output. It imports events alone. Whose
// absence proves an end is not decided here, but by who asks.
//
// Data comes from the poller, which reads the known states from the store and
// the snapshot from the platform, and goes back to it, which commits the events in
// one transaction.
package diff
