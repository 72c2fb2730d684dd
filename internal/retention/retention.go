// Package retention keeps personal fields for less long than what they stand beside: e-mail
// addresses for 30 days, say, and figures for two years.
//
// A message of a stream cannot be changed, and one that is deleted takes its figures along.
// So the streams of session events and of visits, which have all fields, keep what they hold
// for as long as their shortest-lived field may be kept. Beside each there is another one for
// each longer time, with the same events without what may not be kept for so long. Nothing is
// ever rewritten: each event is stored once in each stream, and leaves it by its age.
//
// Data comes from the streams of session events and visits, and goes into these copies.
package retention

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

// Field is a kind of personal data.
type Field string

// The fields, by the names that they have in the configuration.
const (
	Email Field = "email"
	Guest Field = "guest" // guest_id, yas_id, access_code
	IP    Field = "ip"
	MAC   Field = "mac"  // device_mac, device_description
	Name  Field = "name" // name, username
)

// Fields lists every field, sorted.
func Fields() []Field { return []Field{Email, Guest, IP, MAC, Name} }

// figures is the name, in the configuration, of all that is no Field.
const figures = "events"

// Policy says how long what is kept.
type Policy struct {
	// Fields are the times of those that are kept for a time of their own.
	Fields map[Field]time.Duration
	// Events is how long events are kept at all; 0 is for ever.
	Events time.Duration
}

// Parse reads a policy: fields and times, as in "email,name=720h; mac,ip=2160h;
// events=17520h". The time of events, where the text gives none, is events.
func Parse(text string, events time.Duration) (Policy, error) {
	p := Policy{Fields: map[Field]time.Duration{}, Events: events}
	told := false
	for part := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		names, value, ok := strings.Cut(part, "=")
		age, err := time.ParseDuration(strings.TrimSpace(value))
		if !ok || err != nil || age <= 0 {
			return Policy{}, fmt.Errorf("%q: write fields and how long they are kept, as in email,name=720h", strings.TrimSpace(part))
		}
		for name := range strings.SplitSeq(names, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			f := Field(name)
			_, twice := p.Fields[f]
			switch {
			case name == figures && told, twice:
				return Policy{}, fmt.Errorf("%s stands there twice", name)
			case name == figures:
				p.Events, told = age, true
			case !slices.Contains(Fields(), f):
				return Policy{}, fmt.Errorf("%q is no field; use email, guest, ip, mac, name, or events for all that is none of these", name)
			default:
				p.Fields[f] = age
			}
		}
	}
	return p, nil
}

// Age is how long an event without some of the fields may be kept; 0 is for ever.
func (p Policy) Age(without ...Field) time.Duration {
	age := p.Events
	for f, of := range p.Fields {
		if !slices.Contains(without, f) && (age == 0 || of < age) {
			age = of
		}
	}
	return age
}

// Of is how long a field is kept; 0 is for ever.
func (p Policy) Of(f Field) time.Duration {
	of, own := p.Fields[f]
	if !own || p.Events > 0 && p.Events < of {
		return p.Events
	}
	return of
}

// Copies are the streams that are needed beside the first, from the shortest-lived on.
func (p Policy) Copies() (all []Copy) {
	for _, age := range slices.Compact(slices.Sorted(maps.Values(p.Fields))) {
		if p.Events > 0 && age >= p.Events {
			continue
		}
		var c Copy
		for _, f := range Fields() {
			if of, own := p.Fields[f]; own && of <= age {
				c.Without = append(c.Without, f)
			}
		}
		c.Age = p.Age(c.Without...)
		all = append(all, c)
	}
	return all
}

// Copy is a stream that has the events of another one without some fields.
type Copy struct {
	Without []Field       // sorted
	Age     time.Duration // 0 is for ever
}

// Stream is the copy's name, Prefix what its subjects begin with: both say what is not in
// it, so that one with other fields is another stream.
func (c Copy) Stream(of string) string { return of + "_WITHOUT_" + strings.ToUpper(c.join("_")) }

// Prefix is what the subjects of the copy begin with.
func (c Copy) Prefix(of string) string { return of + "-without-" + c.join("-") }

func (c Copy) join(by string) string {
	names := make([]string, len(c.Without))
	for i, f := range c.Without {
		names[i] = string(f)
	}
	return strings.Join(names, by)
}

func (c Copy) lacks(f Field) bool { return slices.Contains(c.Without, f) }

// strip takes the fields out of a session event. Its id stays: it tells of the same change.
func (c Copy) strip(e *events.Event) {
	d := &e.Data
	if d.Guest = c.guest(d.Guest); d.Guest == nil {
		d.Observed.Guest = ""
	}
	s := &d.Session
	p := &events.Previous{}
	if d.Previous != nil {
		*p = *d.Previous // it may be another's
	}
	if c.lacks(Guest) {
		s.GuestID, s.YasID, s.AccessCode = "", "", ""
		p.GuestID, p.YasID, p.AccessCode = nil, nil, nil
	}
	if c.lacks(IP) {
		s.DeviceIP, p.DeviceIP = "", nil
	}
	if c.lacks(MAC) {
		s.DeviceMAC, s.DeviceDescription = "", ""
		p.DeviceMAC, p.DeviceDescription = nil, nil
	}
	if d.Previous == nil {
		return
	}
	if *p == (events.Previous{}) {
		none := ""
		p.DeviceDescription = &none // as where a person is forgotten: an event names a change
	}
	d.Previous = p
}

// stripVisit takes the fields out of an event of a visit.
func (c Copy) stripVisit(e *visits.Event) {
	e.Data.Guest = c.guest(e.Data.Guest)
	if c.lacks(Guest) {
		e.Data.Visit.GuestID = ""
	}
	if c.lacks(MAC) {
		e.Data.Visit.DeviceMAC = ""
	}
}

func (c Copy) guest(g *events.Guest) *events.Guest {
	if g == nil {
		return nil
	}
	left := *g
	if c.lacks(Email) {
		left.Email = ""
	}
	if c.lacks(Name) {
		left.Name, left.Username = "", ""
	}
	if left == (events.Guest{}) {
		return nil
	}
	return &left
}

// String says how long what is kept, as the configuration has it.
func (p Policy) String() string {
	var parts []string
	for _, age := range slices.Compact(slices.Sorted(maps.Values(p.Fields))) {
		var names []string
		for _, f := range Fields() {
			if of, own := p.Fields[f]; own && of == age {
				names = append(names, string(f))
			}
		}
		parts = append(parts, strings.Join(names, ",")+"="+short(age))
	}
	return strings.Join(append(parts, figures+"="+short(p.Events)), "; ")
}

func short(d time.Duration) string {
	switch {
	case d == 0:
		return "for ever"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
