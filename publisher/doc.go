// Package publisher moves the events of one account from the store's outbox to
// a JetStream stream: each exactly once, in the order of the outbox, whatever
// fails in between and for however long.
//
// It imports events and store. Data comes in through the Store interface and
// goes out over a NATS connection; the stream's answers come back as a cursor
// that the store keeps. Connect and EnsureStream provide what is on the other
// side: a connection and a stream; package embedded a server where there is none.
//
// # Why each event is in the stream exactly once
//
// The outbox is a log with sequence numbers that never repeat, and every message
// carries its number. What the stream holds of an account is therefore always a
// prefix of the account's log, provided that no message is stored unless the one
// before it is the last. The server checks just that, in one step with storing:
//
//   - In a stream with atomic publishing, entries go out in batches, the last
//     message of which names the stream sequence of the account's last message
//     (Nats-Expected-Last-Subject-Sequence with the account's filter as its
//     subject). A single entry goes as an ordinary message with the same headers.
//   - In any other stream, and for a backlog where that is faster, messages are
//     pipelined, in fast batches where the stream allows these and is not replicated. The first names the last
//     sequence of the whole stream, each other one the id of the message before
//     it (Nats-Expected-Last-Msg-Id). Predicted sequence numbers would not do:
//     when another writer's message takes the number predicted for a message
//     that is refused, the one behind it is accepted. In a replicated stream
//     without atomic publishing, one message is in flight at a time (see chain).
//
// So after a doubtful outcome (a timeout, a lost connection, a crash) the
// account's last message tells how far the stream got, and publishing goes on
// behind it. Whatever is still on its way from before arrives too late, is
// refused, and does no harm. The server's dedupe window plays no part.
//
// # When the stream loses what it acknowledged
//
// JetStream may lose a tail of acknowledged messages with the power unless it
// syncs each write. The cursor holds the stream's sequence and creation time, so
// that this shows: the stream is the same, yet ends before the cursor or has
// something else in its place. Then the account goes back to what the stream
// holds and publishes the entries that the outbox retains again. So it does with a
// stream that was deleted and that guestflow itself made again, which the stream's
// metadata say, for every account of it, and with a mirror that was promoted and bears the
// same metadata: it has the sequences of what it copied, so that it shows which tail it
// lacks. A stream that somebody else made anew, or purged, or whose messages were deleted or aged out, has lost nothing by accident:
// what was acknowledged is not sent again.
package publisher
