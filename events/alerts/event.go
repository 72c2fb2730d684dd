package alerts

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"time"
)

// Kind says what happened to an alert. It is the last token of the subject and part of
// the CloudEvents type.
type Kind string

// The kinds.
const (
	// Raised: what the rule watches for has lasted as long as it must.
	Raised Kind = "raised"
	// Cleared: it is over; Data.Alert.Reason says why.
	Cleared Kind = "cleared"
)

// Kinds lists every kind, in the order of an alert's life.
func Kinds() []Kind { return []Kind{Raised, Cleared} }

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool { return k == Raised || k == Cleared }

// What a rule watches for.
type What string

// The things that rules watch for.
const (
	// Above: the figure is the threshold or more.
	Above What = "above"
	// Below: the figure is the threshold or less.
	Below What = "below"
	// Busier: the figure is that many times the usual one or more.
	Busier What = "busier"
	// Silent: nobody is there, guests are expected, and other locations have theirs.
	Silent What = "silent"
)

// Valid reports whether w is one of those.
func (w What) Valid() bool { return w == Above || w == Below || w == Busier || w == Silent }

// Reason says why an alert was cleared.
type Reason string

// The reasons.
const (
	// Over: the figure is back beyond the rule's other threshold.
	Over Reason = "over"
	// Closed: the opening hours that the rule is for are over.
	Closed Reason = "closed"
	// Removed: the rule is no more, or is another one.
	Removed Reason = "removed"
)

// Valid reports whether r is one of the reasons.
func (r Reason) Valid() bool { return r == Over || r == Closed || r == Removed }

// Event is one change of one alert. Its wire form is a CloudEvents 1.0 structured JSON
// document (see Encode and Decode).
type Event struct {
	// ID is deterministic: that of alert and kind. It is the CloudEvents id and the
	// Nats-Msg-Id.
	ID string
	// Account names the platform account.
	Account string
	Kind    Kind
	// Time is when it was raised or cleared, on the platform's clock.
	Time time.Time
	Data Data
}

// Data is the CloudEvents data of both kinds.
type Data struct {
	// Revision is 1 of Raised and 2 of Cleared.
	Revision int64 `json:"revision"`
	Alert    Alert `json:"alert"`
}

// Alert is an alert as of the event.
type Alert struct {
	// ID is the same in both events.
	ID string `json:"id"`
	// Rule is the name of the rule, What it watches for, Figure what it counts: "online"
	// (sessions), "devices" or "guests".
	Rule   string `json:"rule"`
	What   What   `json:"what"`
	Figure string `json:"figure"`

	LocationID   string `json:"location_id"`
	LocationName string `json:"location_name,omitempty"`

	// Since is from when on it was so, RaisedAt when that had lasted as long as it must,
	// ClearedAt when it was cleared; zero on Raised.
	Since     time.Time `json:"since"`
	RaisedAt  time.Time `json:"raised_at"`
	ClearedAt time.Time `json:"cleared_at,omitzero"`
	Reason    Reason    `json:"reason,omitempty"`

	// Value is the figure at the last look, and Low to High where it lies by now, as far
	// as that look and the coming and going of the last hour tell. LookedAt is when that
	// was.
	Value    int       `json:"value"`
	Low      int       `json:"low"`
	High     int       `json:"high"`
	LookedAt time.Time `json:"looked_at"`
	// Threshold is what Value is compared with: the rule's own, of Busier the usual
	// figure times the rule's factor, of Silent how many guests the rule takes for
	// expected.
	Threshold float64 `json:"threshold"`
	// Usual is the figure that is usual at this weekday and hour, where that is known,
	// and Basis how: "observed" (of this hour of this weekday), "hour" (of this hour on
	// other days, and the days' own counts) or "share" (of all that are online now, by
	// the days' counts).
	Usual *float64 `json:"usual,omitempty"`
	Basis string   `json:"basis,omitempty"`
}

// Sealed returns e with its deterministic ids: that of the alert is made of account,
// rule, location and the time from when on it was so, that of the event of alert and kind.
func (e Event) Sealed() Event {
	a := &e.Data.Alert
	a.ID = digest(e.Account, a.Rule, a.LocationID, strconv.FormatInt(a.Since.UnixMilli(), 10))
	e.ID = digest(e.Account, a.ID, string(e.Kind))
	return e
}

func digest(fields ...string) string {
	h := sha256.New()
	for _, field := range fields {
		h.Write(strconv.AppendInt(nil, int64(len(field)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(field))
	}
	sum := h.Sum(nil)
	return digits.EncodeToString(sum[:16])
}

// digits are those of base 32 in small letters.
var digits = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
