package webhook

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/group"
)

// ErrNoSample: no event was found that an endpoint's filters let through. For all
// but the simplest conditions that is no proof that there is none.
var ErrNoSample = errors.New("no sample event meets its filters")

// SampleEvent is a made-up event of a made-up guest's session in account and
// location "example", with all that an event of its kind can have. Its session
// differs with the time.
func SampleEvent(kind events.Kind, at time.Time) events.Event {
	at = at.UTC().Truncate(time.Second)
	const stay, moved = 45 * time.Minute, 5_000_000
	s := events.Session{
		ID: "test-" + at.Format("20060102150405"), LocationID: "example", LocationName: "Example Hotel",
		GuestID: "example-guest", YasID: "example-yas", DeviceMAC: "02:00:00:00:00:01", DeviceIP: "192.0.2.10",
		DeviceDescription: "Example Phone", AccessCode: "EXAMPLE1", LoginType: "Registration", ServiceProfile: "Example",
		Online: kind != events.Ended, StartedAt: at,
	}
	e := events.Event{Account: "example", Kind: kind, Time: at}
	d := &e.Data
	d.Revision, d.Observed = 1, events.Observed{At: at, NotYetAt: at.Add(-3 * time.Second)}
	if kind != events.Started {
		s.StartedAt, s.DurationSeconds = at.Add(-stay), int64(stay.Seconds())
		s.Downloaded.Value, s.Uploaded.Value = 10*moved, moved
	}
	switch kind {
	case events.Traffic:
		d.Revision, d.Change = 2, &events.Change{DownloadedBytes: moved, UploadedBytes: moved / 10}
		downloaded, uploaded := s.Downloaded.Value-moved, s.Uploaded.Value-moved/10
		d.Previous = &events.Previous{DownloadedBytes: &downloaded, UploadedBytes: &uploaded}
	case events.Updated:
		before := "192.0.2.9"
		d.Revision, d.Previous = 2, &events.Previous{DeviceIP: &before}
	case events.Ended:
		s.EndedAt = at
		d.Revision, d.Observed.End, d.Observed.Proof = 2, events.EndReported, events.ProofRecord
	case events.Resumed:
		d.Revision, d.Episode = 3, 1
	}
	if kind.Arrival() {
		d.Guest, d.Observed.Guest = &events.Guest{Username: "EXAMPLE1", Name: "Example Guest", Email: "guest@example.com"}, events.GuestConfirmed
	}
	d.Session = s
	return e.Sealed()
}

// SampleVisit is a made-up event of a made-up guest's visit in account and place
// "example", with all that an event of its kind can have.
func SampleVisit(kind visits.Kind, at time.Time) visits.Event {
	at = at.UTC().Truncate(time.Second)
	const stay = 45 * time.Minute
	e := visits.Event{Account: "example", Kind: kind, Time: at}
	d := &e.Data
	d.Revision, d.Observed = 1, visits.Observed{At: at, NotYetAt: at.Add(-3 * time.Second)}
	d.Visit = visits.Visit{
		ID: "test-" + at.Format("20060102150405"), Place: "example", LocationID: "example", LocationName: "Example Hotel",
		Locations: []string{"example"}, Identity: visits.ByGuest, GuestID: "example-guest", DeviceMAC: "02:00:00:00:00:01",
		Number: 1, First: visits.Yes, Arrival: visits.Seen, StartedAt: at, Devices: 1, Sessions: 1,
	}
	if kind == visits.Started || kind == visits.Counted {
		d.Guest = &events.Guest{Username: "EXAMPLE1", Name: "Example Guest", Email: "guest@example.com"}
	}
	switch kind {
	case visits.Started:
		return e.Sealed()
	case visits.Counted:
		d.Revision, d.Observed.NotYetAt = 2, time.Time{}
		return e.Sealed()
	}
	d.Revision, d.Visit.StartedAt, d.Visit.DurationSeconds = 2, at.Add(-stay), int64(stay/time.Second)
	d.Visit.DownloadedBytes, d.Visit.UploadedBytes = 50_000_000, 5_000_000
	switch kind {
	case visits.Stayed:
		d.ThresholdSeconds = d.Visit.DurationSeconds
		d.Observed.NotYetAt = time.Time{}
	case visits.Lapsed:
		const month = 30 * 24 * time.Hour
		d.ThresholdSeconds, d.Visit.StartedAt, d.Visit.EndedAt = int64(month/time.Second), at.Add(-month-stay), at.Add(-month)
		d.Revision, d.Observed = 4, visits.Observed{At: at, End: events.EndReported}
	default:
		d.Revision, d.Visit.EndedAt, d.Observed.End = 3, at, events.EndReported
	}
	return e.Sealed()
}

// sampleFor returns an event that the endpoint asks for: of kind, or of the first
// kind that will do when kind is empty. The error wraps ErrNoSample and names what
// stands in the way.
func sampleFor(e Endpoint, kind string, at time.Time) (notice, error) {
	kinds := slices.DeleteFunc(slices.Clone(e.topic.kinds), func(k string) bool {
		return len(e.Kinds) > 0 && !slices.Contains(e.Kinds, k)
	})
	if kind != "" {
		if !slices.Contains(kinds, kind) {
			return notice{}, fmt.Errorf("%w: it asks for the kinds %s alone, not for %s", ErrNoSample, strings.Join(e.Kinds, ", "), kind)
		}
		kinds = []string{kind}
	}
	for _, k := range kinds {
		if n := e.topic.specimen(k, at); takesAsItIs(&e, n) {
			return n, nil
		}
	}
	for _, k := range kinds {
		if n, ok := vary(&e, e.topic.specimen(k, at)); ok {
			return n, nil
		}
	}
	return notice{}, fmt.Errorf("%w: %s", ErrNoSample, obstacle(e, kinds, at))
}

// specimen is a made-up event of the topic.
func (t *topic) specimen(kind string, at time.Time) notice { return t.about(t.sample(kind, at)) }

func takesAsItIs(e *Endpoint, n notice) bool {
	wanted, err := e.match(n)
	return wanted && err == nil
}

// obstacle names the part of the filters that alone no event of the kinds meets.
func obstacle(e Endpoint, kinds []string, at time.Time) string {
	alone := func(locations []string, in *group.Set, condition string) bool {
		part := Endpoint{Locations: locations, Condition: condition, topic: e.topic, in: in}
		if condition != "" {
			compiled, err := e.topic.condition(condition, e.condition.groups)
			if err != nil {
				return true // of a part that does not stand alone nothing is known
			}
			part.condition = compiled
		}
		return slices.ContainsFunc(kinds, func(k string) bool {
			_, ok := vary(&part, e.topic.specimen(k, at))
			return ok
		})
	}
	if !alone(e.Locations, nil, "") {
		return fmt.Sprintf("no location id was found for the globs %q", e.Locations)
	}
	if !alone(nil, e.in, "") {
		return fmt.Sprintf("the groups %s have no location", strings.Join(e.Groups, ", "))
	}
	for _, part := range conjuncts(e.Condition) {
		if !alone(nil, nil, part) {
			return fmt.Sprintf("none of the kinds %s was found to meet %s", strings.Join(kinds, ", "), part)
		}
	}
	return "each part of the condition can be met, but no event was found that meets all, in the locations that it asks for"
}

// conjuncts splits a condition at its outermost ands.
func conjuncts(condition string) []string {
	tree, err := parser.Parse(condition)
	if err != nil {
		return nil
	}
	var split func(n ast.Node) []string
	split = func(n ast.Node) []string {
		if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "&&" || b.Operator == "and") {
			return append(split(b.Left), split(b.Right)...)
		}
		return []string{n.String()}
	}
	return split(tree.Node)
}

// maxVariations bounds the search for a sample.
const maxVariations = 50_000

// variation is a field of an event and what it may be set to.
type variation struct {
	field  reflect.Value
	values []reflect.Value
}

// variationsOf are the fields of an event that an endpoint asks for, and values that
// they may be given.
func variationsOf(e *Endpoint, n notice) (fields []variation) {
	u := usesOf(e.Condition)
	paths := u.paths
	if len(e.Locations) > 0 {
		paths = append(paths, "session.location_id", "visit.place", "alert.location_id")
		for _, glob := range e.Locations {
			u.texts = append(u.texts, instanceOf(glob))
		}
	}
	for _, p := range placesFor(e, u) {
		paths = append(paths, "account", "session.location_id", "visit.place", "alert.location_id")
		u.texts = append(u.texts, p.Account, p.Location)
	}
	for _, path := range slices.Compact(slices.Sorted(slices.Values(paths))) {
		if !e.topic.mayVary(n.kind, path) {
			continue
		}
		if field := fieldOf(n.of, path); field.IsValid() {
			if values := u.valuesFor(field.Type()); len(values) > 0 {
				fields = append(fields, variation{field, values})
			}
		}
	}
	return fields
}

// vary changes the event until the endpoint takes it: as few as possible of the
// fields that its filters mention, to values near those that they mention.
func vary(e *Endpoint, n notice) (notice, bool) {
	fields := variationsOf(e, n)
	left := maxVariations
	var search func(from, changes int) bool
	search = func(from, changes int) bool {
		if changes == 0 {
			left--
			if !takesAsItIs(e, e.topic.about(n.of)) {
				return false
			}
			_, err := e.topic.encode(n.of)
			return err == nil
		}
		for i := from; i < len(fields) && left > 0; i++ {
			f := fields[i]
			was := reflect.ValueOf(f.field.Interface())
			for _, v := range f.values {
				f.field.Set(v)
				if search(i+1, changes-1) {
					return true
				}
			}
			if f.field.SetZero(); was.IsValid() {
				f.field.Set(was)
			}
		}
		return false
	}
	for changes := range len(fields) + 1 {
		if search(0, changes) {
			return e.topic.about(n.of), true
		}
	}
	return n, false
}

// sessionMayVary reports whether session events of a kind differ in a field.
func sessionMayVary(of, path string) bool {
	kind := events.Kind(of)
	object, name, _ := strings.Cut(path, ".")
	switch {
	case path == "session.online":
		return false
	case path == "session.ended_at", path == "observed.end":
		return kind == events.Ended
	case object == "previous":
		figure := name == "downloaded_bytes" || name == "uploaded_bytes" || name == "duration_seconds"
		return figure == (kind == events.Traffic)
	}
	return true
}

// fieldOf is the field of a condition's path in the event; invalid where the event
// has no such field, or it must stay as it is.
func fieldOf(of any, path string) reflect.Value {
	event := reflect.ValueOf(of).Elem()
	if path == "account" {
		return event.FieldByName("Account")
	}
	if path == "time" {
		return event.FieldByName("Time")
	}
	v := event.FieldByName("Data")
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return reflect.Value{}
		}
		found := reflect.Value{}
		for i := range v.NumField() {
			if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
				found = v.Field(i)
			}
		}
		v = found
	}
	return v
}

// times are those of the condition's texts that are times.
func (u uses) times() (times []time.Time) {
	for _, text := range u.texts {
		for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
			if t, err := time.Parse(layout, text); err == nil {
				times = append(times, t)
			}
		}
	}
	return times
}

// valuesFor are values of a type that may meet what a condition compares with.
func (u uses) valuesFor(typ reflect.Type) (out []reflect.Value) {
	switch {
	case typ.Kind() == reflect.Pointer:
		if typ.Elem().Kind() == reflect.Struct && typ.Elem() != reflect.TypeFor[time.Time]() {
			return nil // a whole object: its fields are varied
		}
		out = append(out, reflect.Zero(typ))
		for _, v := range append(u.valuesFor(typ.Elem()), reflect.Zero(typ.Elem())) {
			p := reflect.New(typ.Elem())
			p.Elem().Set(v)
			out = append(out, p)
		}
	case typ == reflect.TypeFor[time.Time]():
		for _, t := range u.times() {
			for _, by := range []time.Duration{0, time.Second, -time.Second} {
				out = append(out, reflect.ValueOf(t.UTC().Add(by)))
			}
		}
	case typ == reflect.TypeFor[events.Bytes]():
		for _, n := range u.near() {
			out = append(out, reflect.ValueOf(events.Bytes{Value: n}))
		}
	case typ.Kind() == reflect.String:
		for _, text := range append([]string{""}, u.texts...) {
			out = append(out, reflect.ValueOf(text).Convert(typ))
		}
	case typ.Kind() == reflect.Bool:
		out = []reflect.Value{reflect.ValueOf(true), reflect.ValueOf(false)}
	case typ.Kind() == reflect.Float64:
		for _, n := range u.near() {
			out = append(out, reflect.ValueOf(float64(n)))
		}
	case typ.Kind() == reflect.Int, typ.Kind() == reflect.Int64:
		for _, n := range u.near() {
			out = append(out, reflect.ValueOf(n).Convert(typ))
		}
	}
	return out
}

// near are numbers beside those of the condition, and beside their products, for
// conditions that convert units.
func (u uses) near() (out []int64) {
	out = []int64{0, 1}
	for i, n := range u.numbers {
		out = append(out, n, n+1, n-1)
		for _, m := range u.numbers[:i] {
			out = append(out, n*m, n*m+1, n*m-1)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// instanceOf is a text that the glob matches, as far as one is easily found.
func instanceOf(glob string) string {
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '*':
			b.WriteString("1")
		case '?':
			b.WriteByte('1')
		case '\\':
			if i++; i < len(glob) {
				b.WriteByte(glob[i])
			}
		case '[':
			end := i + strings.IndexByte(glob[i:], ']')
			if end < i {
				return glob
			}
			b.WriteByte(memberOf(glob[i : end+1]))
			i = end
		default:
			b.WriteByte(glob[i])
		}
	}
	return b.String()
}

// memberOf is a character that a glob's [class] matches.
func memberOf(class string) byte {
	for c := byte('~'); c > ' '; c-- {
		if ok, err := path.Match(class, string(rune(c))); ok && err == nil {
			return c
		}
	}
	return '1'
}
