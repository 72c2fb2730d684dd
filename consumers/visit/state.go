package visit

import (
	"container/heap"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

// key names a session, or a guest or device at a place, within an account: a digest,
// since the names themselves would take most of the memory.
type key [16]byte

func keyOf(fields ...string) (k key) {
	var scratch [160]byte
	b := scratch[:0]
	for _, f := range fields {
		b = append(b, byte(len(f)>>16), byte(len(f)>>8), byte(len(f)))
		b = append(b, f...)
	}
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

func sessionKey(id string) key             { return keyOf("session", id) }
func guestKey(place, guest string) short   { return keyOf("guest", place, guest).short() }
func deviceKey(place, device string) short { return keyOf("device", place, device).short() }

// short is the beginning of a key, for what is kept in memory alone: of a million, two are
// the same in one of 30 million cases.
type short uint64

func (k key) short() short { return short(binary.LittleEndian.Uint64(k[:])) }

// digits are those of base 32 in small letters.
var digits = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (k key) String() string { return digits.EncodeToString(k[:]) }

// location is interned: many visits are at each.
type location struct {
	id, name string
	place    *place
}

// place is a group or a location outside of all groups; interned.
type place struct {
	name  string
	group bool
}

// open is a visit that may still change. Times are Unix milliseconds.
type open struct {
	id      key
	ordinal uint64 // of all visits, in the order of their making: ties are broken by it
	place   *place
	at      *location // where the guest was last seen
	guest   string
	device  string // the first one
	more    *extra // nil for most

	started int64
	ended   int64 // the latest end; decides only while nobody is online
	certain int64 // the guest was surely there until then, as the ends say
	due     int64 // when something is to be decided
	down    int64
	up      int64

	revision int32
	sessions int32
	online   int32
	heap     int32 // index in due, from 1; 0 when not there
	stayed   int16 // thresholds that were published
	arrival  byte
	end      byte
	past     bool // of the history: sessions of the present do not belong to it
	over     bool // ended, and waits for the guest to lapse
	unnamed  bool // some of its sessions named no guest
	first    byte // index in certainties
	number   int32
	days     int32 // since the last visit; -1 where not known
}

// extra is what most visits do not have.
type extra struct {
	devices   []string // after the first
	locations []*location
	sessions  []key // that have ended
}

func (v *open) extra() *extra {
	if v.more == nil {
		v.more = &extra{}
	}
	return v.more
}

var (
	arrivals    = []visits.Arrival{visits.Seen, visits.Discovered, visits.Backfilled}
	certainties = []visits.Certainty{visits.Unknown, visits.Yes, visits.No}
	ends        = []events.End{"", events.EndReported, events.EndInferred, events.EndPresumed}
)

// has reports whether the visit has the device already; no device is none to add.
func (v *open) has(device string) bool {
	return device == "" || v.device == device || v.more != nil && slices.Contains(v.more.devices, device)
}

// devices counts the visit's devices.
func (v *open) devices() int64 {
	switch {
	case v.device == "":
		return 0
	case v.more == nil:
		return 1
	}
	return 1 + int64(len(v.more.devices))
}

// moved notes where the guest is seen.
func (v *open) moved(to *location) {
	if v.at == to {
		return
	}
	x := v.extra()
	if len(x.locations) == 0 {
		x.locations = append(x.locations, v.at)
	}
	if !slices.Contains(x.locations, to) {
		x.locations = append(x.locations, to)
	}
	v.at = to
}

// account keeps what belongs to one platform account.
type account struct {
	name      string
	sessions  map[key]*open   // online ones
	index     map[short]*open // of guests and devices at places
	backfill  map[key]*events.Event
	history   map[short][]*open // visits of the past that are open, by guest or device
	places    map[string]*place
	locations map[string]*location
	queue     queue
	guests    map[string]*person      // by id; empty where nobody is remembered
	wanting   map[short]*open         // visits of which is to be asked how many came before, by id
	named     map[*open]*events.Guest // who these are, where the event of the arrival said it
	// moves is whether sessions were seen to change their location: then one that counts
	// elsewhere may have been here.
	moves bool
	// since is when the account's first session event was seen.
	since int64
	// gap is the last session event that came after a silence: what happened in it may be
	// unknown still.
	gap uint64
	// watermark is the latest time on the platform's clock that any event knows of.
	watermark int64
	// hold is until when nothing is decided, since the stream was silent before: after an
	// outage, what happened meanwhile shows bit by bit.
	hold int64
}

func newAccount(name string) *account {
	return &account{
		name: name, sessions: map[key]*open{}, index: map[short]*open{}, backfill: map[key]*events.Event{}, history: map[short][]*open{},
		places: map[string]*place{}, locations: map[string]*location{}, guests: map[string]*person{}, wanting: map[short]*open{}, named: map[*open]*events.Guest{},
	}
}

// near reports whether a session's time belongs to the visit.
func (v *open) near(from, to, gap int64) bool {
	return to+gap >= v.started && (v.online > 0 || from <= v.ended+gap)
}

// historyKey is by what visits of the past are found; false where there is nothing.
func historyKey(p *place, guest, device string) (short, bool) {
	switch {
	case guest != "":
		return guestKey(p.key(), guest), true
	case device != "":
		return deviceKey(p.key(), device), true
	}
	return 0, false
}

// remembered returns the visit of the past that a session belongs to; nil where there is
// none.
func (a *account) remembered(p *place, s *events.Session, from, to, gap int64) *open {
	k, ok := historyKey(p, s.GuestID, s.DeviceMAC)
	if !ok {
		return nil
	}
	for _, v := range a.history[k] {
		if v.near(from, to, gap) {
			return v
		}
	}
	return nil
}

// remember lets later sessions of the history find a visit, forget no longer.
func (a *account) remember(v *open) {
	if k, ok := historyKey(v.place, v.guest, v.device); ok {
		a.history[k] = append(a.history[k], v)
	}
}

func (a *account) forget(v *open) {
	k, ok := historyKey(v.place, v.guest, v.device)
	if !ok {
		return
	}
	if a.history[k] = slices.DeleteFunc(a.history[k], func(o *open) bool { return o == v }); len(a.history[k]) == 0 {
		delete(a.history, k)
	}
}

// location returns the interned location of a session, with its latest name.
func (a *account) location(groups grouping, s *events.Session) *location {
	l := a.locations[s.LocationID]
	if l == nil {
		l = &location{id: s.LocationID, place: a.place(groups, s.LocationID)}
		a.locations[s.LocationID] = l
	}
	if s.LocationName != "" {
		l.name = s.LocationName
	}
	return l
}

func (a *account) place(groups grouping, locationID string) *place {
	name, group := groups.of(a.name, locationID)
	if !group {
		name = locationID
	}
	return a.intern(name, group)
}

// intern returns the one place of that name.
func (a *account) intern(name string, group bool) *place {
	p := &place{name: name, group: group}
	if known := a.places[p.key()]; known != nil {
		return known
	}
	a.places[p.key()] = p
	return p
}

// key is unique: a group may bear the name of a location.
func (p *place) key() string {
	if p.group {
		return "group\x00" + p.name
	}
	return p.name
}

// schedule puts the visit where it is to be decided on; a due of zero takes it out.
func (a *account) schedule(v *open, due int64) {
	v.due = due
	switch {
	case due == 0 && v.heap > 0:
		heap.Remove(&a.queue, int(v.heap-1))
	case due == 0:
	case v.heap > 0:
		heap.Fix(&a.queue, int(v.heap-1))
	default:
		heap.Push(&a.queue, v)
	}
}

// queue is a heap of the visits that wait for a time.
type queue []*open

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].due != q[j].due {
		return q[i].due < q[j].due
	}
	return q[i].ordinal < q[j].ordinal
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].heap, q[j].heap = int32(i+1), int32(j+1)
}

// Push is heap.Interface's.
func (q *queue) Push(x any) {
	v := x.(*open)
	*q = append(*q, v)
	v.heap = int32(len(*q))
}

// Pop is heap.Interface's.
func (q *queue) Pop() any {
	last := len(*q) - 1
	v := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	v.heap = 0
	return v
}

// answered takes a visit from those that are to be asked about.
func (a *account) answered(v *open) {
	delete(a.wanting, v.id.short())
	delete(a.named, v)
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
