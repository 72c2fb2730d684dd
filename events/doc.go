// Package events is the contract between guestflow and everyone who reads its
// stream: the session and its event kinds, the subjects, the CloudEvents
// encoding, the JSON Schemas and the AsyncAPI document.
//
// It imports nothing of the project, and no NATS client. guestflow's diff makes
// Events, its publisher sends what Encode returns to the subject that Subjects.Of
// names; a downstream program receives them with package consume, or with any NATS
// client and Decode.
//
// # What can be relied on
//
// Of one session the kinds come in the order
//
//	started|discovered → (traffic|updated)* → ended → (resumed → … → ended)*
//
// and Data.Revision counts 1, 2, 3 … without gaps. The stream holds each event
// exactly once. A consumer gets it at least once: again after a failure or a
// crash, then with the same Event.ID and the same revision. State.Apply tells
// all cases apart; folding the events of a session with it gives what guestflow
// itself knows of the session.
//
// An event never claims more than is known: Data.Observed bounds when the change
// happened, says whether an end was reported or inferred, and carries the
// rounding errors of the byte figures.
package events
