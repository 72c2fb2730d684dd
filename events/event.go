package events

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Event is one change of one session. Its wire form is a CloudEvents 1.0
// structured JSON document (see Encode and Decode).
type Event struct {
	// ID is deterministic: the same change always gets the same id, another
	// change never does. It is the CloudEvents id and the Nats-Msg-Id.
	ID string
	// Account names the platform account; the CloudEvents source is
	// "guestflow/" followed by it, path-escaped.
	Account string
	Kind    Kind
	// Time is when the change happened at the source, as far as known: the
	// platform's own time for a start or a reported end, else Observed.At.
	Time time.Time
	Data Data
}

// Data is the CloudEvents data of every kind.
type Data struct {
	// Revision counts the events of one session: 1, 2, 3 … without gaps.
	Revision int64 `json:"revision"`
	// Episode counts how often the session came back online: 0 from its first
	// event on, one more with each Resumed.
	Episode int64 `json:"episode,omitempty"`
	// Session is the session after the change.
	Session Session `json:"session"`
	// Guest is who the session belongs to; nil unless guestflow is configured to
	// look guests up, and the answer came in time and is sure enough. Only a kind
	// that is an Arrival has it.
	Guest *Guest `json:"guest,omitempty"`
	// Previous holds the old values of what changed; nil when nothing did.
	Previous *Previous `json:"previous,omitempty"`
	// Change holds the traffic since the last published figures; nil when they
	// did not move.
	Change   *Change  `json:"change,omitempty"`
	Observed Observed `json:"observed"`
}

// Previous holds the values that an event replaces. A nil field did not change;
// a pointer to a zero value was empty before. The three figures stand together; of
// these, nil is what was not known.
type Previous struct {
	LocationID        *string    `json:"location_id,omitempty"`
	LocationName      *string    `json:"location_name,omitempty"`
	GuestID           *string    `json:"guest_id,omitempty"`
	YasID             *string    `json:"yas_id,omitempty"`
	DeviceMAC         *string    `json:"device_mac,omitempty"`
	DeviceIP          *string    `json:"device_ip,omitempty"`
	DeviceDescription *string    `json:"device_description,omitempty"`
	AccessCode        *string    `json:"access_code,omitempty"`
	LoginType         *string    `json:"login_type,omitempty"`
	ServiceProfile    *string    `json:"service_profile,omitempty"`
	StartedAt         *time.Time `json:"started_at,omitempty"`
	DurationSeconds   *int64     `json:"duration_seconds,omitempty"`
	DownloadedBytes   *int64     `json:"downloaded_bytes,omitempty"`
	UploadedBytes     *int64     `json:"uploaded_bytes,omitempty"`
}

// Change holds new minus old for the byte figures, so that the changes of a
// session's events add up to its current figures; one that was not known counts as
// zero.
type Change struct {
	DownloadedBytes int64 `json:"downloaded_bytes"`
	UploadedBytes   int64 `json:"uploaded_bytes"`
	// Reset is true when a counter fell by more than its rounding error: the
	// platform started counting anew, and the negative delta is not traffic.
	Reset bool `json:"reset,omitempty"`
}

// End says how sure an Ended is.
type End string

const (
	// EndReported: the platform lists the session as offline, with its figures.
	EndReported End = "reported"
	// EndInferred: the session is proven absent from the online list; its true
	// end lies between Observed.NotYetAt and Observed.At.
	EndInferred End = "inferred"
	// EndPresumed: the platform's lists have no order, and many readings of them did
	// not show the session, which is no proof. One in 10,000 at most is online still,
	// and comes back as Resumed.
	EndPresumed End = "presumed"
)

// Proof says what proves an end.
type Proof string

const (
	// ProofRecord: the platform's own record of the session says so.
	ProofRecord Proof = "record"
	// ProofList: a list of sessions online does not show it where it must have stood.
	ProofList Proof = "list"
	// ProofAddress: the look-up by IP address, asked twice, does not have its connection
	// any more, as it had before.
	ProofAddress Proof = "address"
)

// Observed says how an event is known. All times are on the platform's clock,
// as estimated from its Date header, UTC.
type Observed struct {
	// At is when the change was seen.
	At time.Time `json:"at"`
	// NotYetAt is the latest time at which the change had not happened yet, as
	// far as was seen; zero when there was no earlier look.
	NotYetAt time.Time `json:"not_yet_at,omitzero"`
	// End is set on Ended alone.
	End End `json:"end,omitempty"`
	// Proof is set on Ended, unless that is presumed.
	Proof Proof `json:"proof,omitempty"`
	// Rounding holds the rounding errors of the session's byte figures.
	Rounding Rounding `json:"rounding"`
	// Backfilled is true when no list of online sessions ever showed the
	// session: it was found later, in the account's history.
	Backfilled bool `json:"backfilled,omitempty"`
	// Guest says how sure Data.Guest is; empty without one.
	Guest Sureness `json:"guest,omitempty"`
}

// Sealed returns e with its deterministic id. The changes of presence
// (discovered, started, resumed, ended) are named by account, session, kind and
// episode alone, so that they keep their id whatever figures were current when
// they were seen; what can happen again in an episode, as traffic and updated, is
// named by its revision and new values as well.
func (e Event) Sealed() Event {
	h := sha256.New()
	field := func(s string) {
		h.Write(strconv.AppendInt(nil, int64(len(s)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(s))
	}
	number := func(n int64) { field(strconv.FormatInt(n, 10)) }
	field(e.Account)
	field(e.Data.Session.ID)
	field(string(e.Kind))
	number(e.Data.Episode)
	if !slices.Contains([]Kind{Discovered, Started, Resumed, Ended}, e.Kind) {
		s := &e.Data.Session
		number(e.Data.Revision)
		number(s.Downloaded.Value)
		number(s.Uploaded.Value)
		for _, a := range s.attributes() {
			field(*a)
		}
		number(s.StartedAt.UnixNano())
	}
	sum := h.Sum(nil)
	e.ID = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
	return e
}
