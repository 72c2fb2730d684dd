package visits

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strconv"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Kind says what happened to a visit. It is the last token of the subject and part of
// the CloudEvents type.
type Kind string

// The kinds. For one visit their order is always started → (counted | stayed)* → ended →
// lapsed. At most one is counted.
const (
	// Started: the guest came. Data.Visit.Arrival says whether that was seen.
	Started Kind = "started"
	// Counted: how often the guest was here became known, which Started did not say.
	Counted Kind = "counted"
	// Stayed: the guest has been there for Data.ThresholdSeconds.
	Stayed Kind = "stayed"
	// Ended: the guest left, and did not come back within the gap.
	Ended Kind = "ended"
	// Lapsed: the guest has not come back for Data.ThresholdSeconds.
	Lapsed Kind = "lapsed"
)

// Kinds lists every kind, in the order of a visit's life.
func Kinds() []Kind { return []Kind{Started, Counted, Stayed, Ended, Lapsed} }

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool { return slices.Contains(Kinds(), k) }

// Identity says by what the sessions of a visit were told to be one guest's.
type Identity string

const (
	// ByGuest: by the platform's guest_id.
	ByGuest Identity = "guest"
	// ByDevice: by the device's MAC address, or its pseudonym, since no session of the
	// visit had a guest_id so far.
	ByDevice Identity = "device"
	// BySession: by nothing. The visit is that of one session.
	BySession Identity = "session"
)

// Arrival says how the beginning of a visit is known.
type Arrival string

const (
	// Seen: the first session was seen to start.
	Seen Arrival = "seen"
	// Discovered: the guest was there already when the place was first watched. The visit
	// may be older, and is no reason to welcome anyone.
	Discovered Arrival = "discovered"
	// Backfilled: the first session was found in the platform's history, after its end.
	Backfilled Arrival = "backfilled"
)

// Certainty is an answer that may not be known.
type Certainty string

// The answers.
const (
	Yes     Certainty = "yes"
	No      Certainty = "no"
	Unknown Certainty = "unknown"
)

// Event is one change of one visit. Its wire form is a CloudEvents 1.0 structured JSON
// document (see Encode and Decode).
type Event struct {
	// ID is deterministic: the same change always gets the same id, another change never
	// does. It is the CloudEvents id and the Nats-Msg-Id.
	ID string
	// Account names the platform account.
	Account string
	Kind    Kind
	// Time is when it happened, as far as known: when the guest came, had stayed or been
	// away for the threshold, or left. That of Counted is when the guest came.
	Time time.Time
	Data Data
}

// Data is the CloudEvents data of every kind.
type Data struct {
	// Revision counts the events of one visit: 1, 2, 3 … without gaps.
	Revision int64 `json:"revision"`
	Visit    Visit `json:"visit"`
	// ThresholdSeconds is set on Stayed and Lapsed alone.
	ThresholdSeconds int64 `json:"threshold_seconds,omitempty"`
	// Guest is who came, where guestflow looks guests up and the first session's event
	// named them; on Started and Counted alone.
	Guest    *events.Guest `json:"guest,omitempty"`
	Observed Observed      `json:"observed"`
}

// Visit is a visit as of the event. Text that is unknown or dropped for privacy is
// absent from the JSON.
type Visit struct {
	// ID is the same in every event of the visit.
	ID string `json:"id"`
	// Place is where the visit is: the group, where the location is in one, or else the
	// location. Moving within it is not leaving.
	Place string `json:"place"`
	// Group is the group's name; empty where the location is in none.
	Group string `json:"group,omitempty"`
	// LocationID and LocationName are of the location that the guest was last seen in,
	// Locations all of the visit's locations in the order of coming there.
	LocationID   string   `json:"location_id"`
	LocationName string   `json:"location_name,omitempty"`
	Locations    []string `json:"locations"`

	Identity  Identity `json:"identity"`
	GuestID   string   `json:"guest_id,omitempty"`
	DeviceMAC string   `json:"device_mac,omitempty"` // of the first device with one

	// Number is which of the guest's visits to the place this is, 1 the first of all; 0
	// where that is not certain. First may be known where Number is not: who was here
	// before guestflow was, and how often nobody knows. It is empty in events from before
	// guestflow counted.
	Number int64     `json:"number,omitempty"`
	First  Certainty `json:"first,omitempty"`
	// DaysSinceLast is how many whole days after the end of the guest's last visit to the
	// place this one began; nil where that is not known, or there was none.
	DaysSinceLast *int64 `json:"days_since_last,omitempty"`

	Arrival   Arrival   `json:"arrival"`
	StartedAt time.Time `json:"started_at"`
	// EndedAt is when the guest left, as far as known: the end of the last session. It is
	// zero but on Ended and Lapsed.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// DurationSeconds is how long the guest was there: from StartedAt to Time, or to
	// EndedAt.
	DurationSeconds int64 `json:"duration_seconds"`

	// Devices and Sessions count distinct ones; a session without a MAC counts as no
	// device.
	Devices  int64 `json:"devices"`
	Sessions int64 `json:"sessions"`
	// Bytes are what the sessions moved during the visit, as published so far; final on
	// Ended. A figure that the platform did not give counts as zero.
	DownloadedBytes int64 `json:"downloaded_bytes"`
	UploadedBytes   int64 `json:"uploaded_bytes"`
}

// Observed says how an event is known. Times are on the platform's clock.
type Observed struct {
	// At is the time by which the event was certain.
	At time.Time `json:"at"`
	// NotYetAt is the latest time at which it had not happened yet; zero when not known:
	// the guest came, or left, between that and the event's time.
	NotYetAt time.Time `json:"not_yet_at,omitzero"`
	// End says how sure the end of the last session is; on Ended and Lapsed alone.
	End events.End `json:"end,omitempty"`
}

// Forget takes out whose visit it is. The event keeps its id.
func (e *Event) Forget() {
	e.Data.Visit.GuestID, e.Data.Visit.DeviceMAC, e.Data.Guest = "", "", nil
}

// Sealed returns e with its deterministic id: that of visit, kind and threshold.
func (e Event) Sealed() Event {
	h := sha256.New()
	for _, field := range []string{e.Account, e.Data.Visit.ID, string(e.Kind), strconv.FormatInt(e.Data.ThresholdSeconds, 10)} {
		h.Write(strconv.AppendInt(nil, int64(len(field)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(field))
	}
	sum := h.Sum(nil)
	e.ID = digits.EncodeToString(sum[:16])
	return e
}

// digits are those of base 32 in small letters.
var digits = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
