// Package poller asks the platform who is online, within its rate limit, and
// turns the answers into committed events: look → diff → store. A strategy picks
// each request, a budget says when it may go, a listing joins pages into a
// snapshot, and the store takes state and events in one transaction.
//
// It imports events, diff, store and poller/platform. Data comes from the
// platform's client and goes to the store; the publisher takes it from there.
package poller
