// Package webhook sends the events of the streams of guest sessions, visits and alerts to
// HTTP endpoints, signed by the Standard Webhooks specification.
//
// It imports events and libraries only. Events come from the JetStream streams
// that guestflow publishes, through one durable pull consumer per endpoint; a topic says
// what the dispatcher must know of the events of one of them. They
// go to the endpoints named in a small YAML or JSON file (see Load). What an
// endpoint never took goes to a stream of dead letters, what was too old for it to a list
// of its own; what must outlive a
// restart (disabled endpoints, counts of failed tries, each endpoint's place and how
// it fares) lives in a JetStream key-value bucket. The package keeps no file of its own.
//
// Every event that matches an endpoint is delivered to it at least once, or ends
// as a dead letter with the reason, as long as the stream's retention keeps it.
// A second delivery carries the same webhook-id: the event's id.
//
// Each endpoint has its own consumer, connections and goroutines, so that a slow
// or dead endpoint never delays another. An event that waits for its next try
// waits at the NATS server and holds no goroutine here.
//
// # Order
//
// An endpoint with ordered: true gets the events of one session one at a time,
// in the order of the stream; an event that waits for a retry holds back the
// later events of its session, and of no other. Three things make that true:
// held back events are returned to the server with a delay and counted in gate;
// no delay is longer than Dispatcher.Recheck, so that after a restart everything
// that was handed out before is seen again soon; and until it has been, nothing
// is sent (see settling). Only one process may serve an ordered endpoint.
package webhook
