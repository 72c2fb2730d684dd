// Package forgotten is the contract of the stream GUEST_FORGOTTEN: who asked to be
// forgotten, as keyed hashes, so that nothing which guestflow reads later brings them back.
//
// Of the project it imports events alone, and no NATS client. The stream has two
// subjects:
//
//   - <prefix>.list has one Entry for each request, kept for ever: the marks of the person,
//     and which messages of other streams were deleted for it.
//   - <prefix>.guest has one Event for each request: a CloudEvents document that tells
//     followers, CRMs above all, to forget the person, too. Who that is, is sealed with the
//     key, and webhooks open it on the way out.
//
// A mark is an HMAC of an id, an address or a MAC with a key that lies outside of NATS, so
// that the list tells nobody who is on it, and only who has the key can ask it.
package forgotten
