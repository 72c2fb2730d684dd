package events

// Kind says what happened to a session. It is the last token of the subject and
// part of the CloudEvents type.
type Kind string

// The six kinds. For one session their order is always
//
//	started|discovered → (traffic|updated)* → ended → (resumed → … → ended)*
const (
	// Discovered: online already when tracking of its location began. Not an
	// arrival, so no welcome message should go out.
	Discovered Kind = "discovered"
	// Started: came online.
	Started Kind = "started"
	// Traffic: downloaded or uploaded data changed by at least the configured
	// threshold since the last published figure.
	Traffic Kind = "traffic"
	// Updated: another attribute changed; Data.Previous has the old values.
	Updated Kind = "updated"
	// Ended: proven gone. Final figures where the platform gives them.
	Ended Kind = "ended"
	// Resumed: the same session id is online again after its Ended.
	Resumed Kind = "resumed"
)

// Kinds lists every kind, in the order of a session's life.
func Kinds() []Kind {
	return []Kind{Discovered, Started, Traffic, Updated, Ended, Resumed}
}

// Valid reports whether k is one of the six kinds.
func (k Kind) Valid() bool {
	switch k {
	case Discovered, Started, Traffic, Updated, Ended, Resumed:
		return true
	}
	return false
}

// Arrival reports whether the kind brings a session online: after it the session
// counts towards occupancy.
func (k Kind) Arrival() bool { return k == Discovered || k == Started || k == Resumed }
