// Package store keeps what guestflow knows of one account in one bbolt file: the
// state of every session, the locations, small named values, and the outbox of
// events that JetStream has not confirmed yet.
//
// Events come from the poller. Each is committed together with the state that it
// leads to: both are written in one transaction or neither is. Events leave
// through Take, in the order in which they were committed, and count as sent when
// Acked says so. With Options.HoldArrivals, an arrival and what comes after it are
// withheld from Take for a bounded time, so that Amend can complete it while
// nobody has seen it. So neither a crash nor an outage loses an event, and what a
// restart may send again is marked by its sequence number.
//
// It imports events, and nothing else of guestflow.
//
// # File
//
// A commit with k changes costs O(k), whatever the number of sessions. Those who arrived
// together are side by side, as they are on pages of a list that is sorted by start; by
// location or id, each one's state would be on a page of its own:
//
//	meta           format version, time of creation
//	sessions       number of an online session, as it came → id, state
//	ended          session id → time of the commit, state (kept for EndedRetention)
//	ended_by_time  time of the commit, session id → nothing
//	locations      location → name, tracking
//	outbox         sequence number → event
//	cursor         what of the outbox is in the stream; bytes ever committed
//	values         key → value
//
// No read transaction is held while a caller works with what it read, since the
// file would grow meanwhile: everything that is returned is a copy.
package store
