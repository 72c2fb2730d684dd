// Package simulator is the platform, simulated: a population of guests, the
// sessions API that shows it as documented, faults by script, and the ground
// truth of what really happened.
//
// Data comes from a seed and an injected clock alone, and goes out three ways:
// over HTTP (Simulator is an http.Handler), already decoded (List, Count) for
// benchmarks, and as Truth records, from which a Checker tells what a stream of
// events got wrong. The population never depends on who asks what: each venue
// and each session has random numbers of its own.
//
// It imports events and the standard library; only cmd and tests import it.
//
// # Time
//
// The platform's clock is the injected one plus Config.ClockSkew. Every time
// that is shown or logged is on that clock. Config.Speed shortens stays, pauses
// and the accounting interval; it does not touch the clock.
package simulator
