// Package pipeline measures what guestflow costs beside what people would write
// themselves: the real program against a naive poller, a bare read loop, a bare
// decode and a bare publish loop, all in one run, on the same simulated platform and
// the same NATS server.
//
// Consumers are processes of their own with one thread for Go code, so that the system
// says what each has used; the platform and the NATS server run in the benchmark's.
// They take turns: while one is measured, the others are stopped.
package pipeline
