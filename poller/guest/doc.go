// Package guest finds out who is behind the address of a session that has begun,
// and attaches that guest to the event which waits for it in the store. It names
// nobody where the times do not show that the address was this session's.
//
// It imports events, store, poller/budget and poller/platform, and runs on a
// goroutine of its own beside the poller, which tells it by Sightings what its
// looks show.
package guest
