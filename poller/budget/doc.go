// Package budget says when a request may go out: how many an endpoint permits in
// any minute, kept across restarts, and how long it is left alone after an error.
//
// It imports poller/platform, for the errors. Whoever asks the platform takes a
// request from a Budget first.
package budget
