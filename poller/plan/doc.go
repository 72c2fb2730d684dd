// Package plan chooses what the poller asks next: of what is known of an account, a
// View, a Strategy makes a Decision, and says why. It is pure: it asks nobody, has no
// clock and starts no goroutine.
//
// It also has what decisions rest on: Rates, learned from what was seen; Rows, the
// sessions as the platform's list has them; and Track, where on its pages each of
// them is to be expected.
//
// It imports nothing of the project. The poller keeps Rates, Rows and Track in step
// with what it was shown, makes the View, and carries the Decision out. Another
// planner needs only to implement Strategy.
package plan
