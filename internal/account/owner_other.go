//go:build !unix

package account

// handOver does nothing: files are not one user's alone here.
func handOver(string) error { return nil }
