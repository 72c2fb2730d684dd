// Package long tells the short form of tests, which runs in CI, from the long one, which
// `go run ./internal/robustness` runs: the same assertions, over more cases or more time.
// It imports nothing of the project, so that the tests of every package can use it.
package long

import "os"

// Variable of the environment that asks for the long form, unless it is empty.
const Variable = "GUESTFLOW_LONG"

// Of returns what a test is to use: short, or long in the long form.
func Of[T any](short, long T) T {
	if os.Getenv(Variable) != "" {
		return long
	}
	return short
}
