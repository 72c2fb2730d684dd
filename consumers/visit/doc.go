// Package visit makes visits of sessions: a guest's time at a place, over all sessions
// that the guest's devices have there, as long as no silence between them is longer than
// a gap. It reads the JetStream stream of session events and publishes the stream of
// visits (package events/visits has the contract), each event exactly once.
//
// It imports events, events/visits and libraries only.
//
//   - Reducer is the pure core: session events in, visit events out. It has no clock, no
//     goroutine and no I/O; the same events always give the same visits, with the same
//     ids and revisions.
//   - Service reads the one stream into a Reducer, publishes what comes out, and saves
//     checkpoints. Every message that it publishes names the sequence that the stream of
//     visits must end with, so a second process, or a late message of an earlier one,
//     changes nothing. After a restart it reads again what came after the checkpoint, and
//     publishes what is missing.
package visit
