// Package alert says when a location is full, is busier than usual, or is silent while
// guests are expected: as events of the stream GUEST_ALERTS, which webhooks can carry.
//
// Figures come from a Source, which is the occupancy of the same process; the rules come
// from a file that is read again when it changes. Alerts go to the stream, and what is
// raised is known from there alone, so that a restart repeats nothing.
//
//   - Rules are what the file says.
//   - Judge decides: a pure fold over looks at the figures.
//   - Service asks the Source now and then, and publishes what the Judge decides.
package alert
