package store

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

func genTime() *rapid.Generator[time.Time] {
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).UTC()
	}))
}

func genState() *rapid.Generator[events.State] {
	return rapid.Custom(func(t *rapid.T) events.State {
		number := func(name string) int64 { return rapid.Int64().Draw(t, name) }
		st := events.State{Revision: number("revision"), Episode: number("episode"), SeenAt: genTime().Draw(t, "seen")}
		s := &st.Session
		s.ID = rapid.StringN(1, 20, -1).Draw(t, "id")
		for _, text := range texts(s) {
			*text = rapid.OneOf(rapid.Just(""), rapid.String(), rapid.SampledFrom([]string{"one", "two"})).Draw(t, "text")
		}
		s.Online = rapid.Bool().Draw(t, "online")
		s.StartedAt, s.EndedAt = genTime().Draw(t, "started"), genTime().Draw(t, "ended")
		s.DurationSeconds = number("duration")
		s.Downloaded = events.Bytes{Value: number("down"), Error: number("error")}
		s.Uploaded = events.Bytes{Value: number("up"), Error: number("error")}
		return st
	})
}

func TestStateRecordsComeBack(t *testing.T) {
	var r stateReader
	rapid.Check(t, func(t *rapid.T) {
		want := genState().Draw(t, "state")
		b := encodeState(&want)
		key := []byte(want.Session.ID)
		var got events.State
		if err := r.read(key, b, &got); err != nil {
			t.Fatal(err)
		}
		if revision, err := stateRevision(key, b); err != nil || revision != want.Revision {
			t.Fatalf("revision %d, error %v; want %d", revision, err, want.Revision)
		}
		for i := range key {
			key[i] = 'x' // The transaction is over.
		}
		clear(b)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%+v, want\n%+v", got, want)
		}
	})
}

// Every field of a state must reach the record: one added to events.Session and
// forgotten here would be lost with the next restart.
func TestStateRecordHasEveryField(t *testing.T) {
	var root events.State
	var check func(v reflect.Value, path string)
	check = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			f, name := v.Field(i), path+"."+v.Type().Field(i).Name
			if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() {
				check(f, name)
				continue
			}
			before := reflect.ValueOf(f.Interface())
			switch {
			case f.Kind() == reflect.String:
				f.SetString("x")
			case f.Kind() == reflect.Int64:
				f.SetInt(7)
			case f.Kind() == reflect.Bool:
				f.SetBool(true)
			case f.Type() == reflect.TypeFor[time.Time]():
				f.Set(reflect.ValueOf(time.Unix(5, 6).UTC()))
			default:
				t.Fatalf("%s is a %s, which this test does not know", name, f.Type())
			}
			var got events.State
			var r stateReader
			if err := r.read([]byte(root.Session.ID), encodeState(&root), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, root) {
				t.Errorf("%s does not come back", name)
			}
			f.Set(before)
		}
	}
	check(reflect.ValueOf(&root).Elem(), "State")
}

// The records, byte by byte: what was written must stay readable.
func TestRecordsKeepTheirFormat(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 123, time.UTC)
	change := arrival("a", "here", at)
	st := events.StateOf(change)
	body, err := events.Encode(change)
	if err != nil {
		t.Fatal(err)
	}
	head := encodeEntry(&change, body, at)
	head = head[:len(head)-len(body)]
	p := place{name: "Here", trackedSince: at, seenAt: at.Add(time.Minute)}
	cursor := savedCursor{
		Cursor: Cursor{OutboxSeq: 300, StreamSeq: 301, StreamCreated: at, At: at.Add(time.Second)},
		acked:  70_000, sent: []sentMark{{250, at}, {300, at.Add(time.Second)}},
	}
	var lines strings.Builder
	for _, l := range []struct {
		name string
		b    []byte
	}{
		{"state", encodeState(&st)}, {"online", appendOnline(nil, &st)}, {"entry", head}, {"location", p.encode()}, {"cursor", cursor.encode()},
	} {
		lines.WriteString(l.name + " " + hex.EncodeToString(l.b) + "\n")
	}
	golden := filepath.Join("testdata", "records.txt")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if lines.String() != string(want) {
		t.Errorf("records are\n%swant (%s)\n%s", lines.String(), golden, want)
	}
}

func TestRecordsCutShortAreCorrupt(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 123, time.UTC)
	change := arrival("a", "here", at)
	st := events.StateOf(change)
	cursor := savedCursor{Cursor: Cursor{OutboxSeq: 3, StreamSeq: 4, StreamCreated: at, At: at}, sent: []sentMark{{2, at}}}
	p := place{name: "Here", trackedSince: at, seenAt: at}
	for name, c := range map[string]struct {
		b    []byte
		read func([]byte) error
	}{
		"state": {encodeState(&st), func(b []byte) error { return new(stateReader).read([]byte("a"), b, &events.State{}) }},
		"online": {appendOnline(nil, &st), func(b []byte) error {
			_, err := new(stateReader).readOnline(sequenceKey(1), b, &events.State{})
			return err
		}},
		"entry":    {encodeEntry(&change, []byte{'{'}, at), func(b []byte) error { _, err := viewEntry(sequenceKey(1), b); return err }},
		"location": {p.encode(), func(b []byte) error { _, err := readPlace([]byte("here"), b); return err }},
		"cursor":   {cursor.encode(), func(b []byte) error { _, err := readCursor(b); return err }},
	} {
		if err := c.read(c.b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range c.b {
			if err := c.read(c.b[:n:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: the first %d of %d bytes: error is %v", name, n, len(c.b), err)
			}
		}
		other := append([]byte{0xfe}, c.b[1:]...)
		if err := c.read(other); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s of another version: error is %v", name, err)
		}
	}
}

func TestStateIsReadInOneAllocation(t *testing.T) {
	st := events.StateOf(arrival("pR3zOKmvzqe", "here", time.Unix(1e9, 5)))
	b, key := encodeState(&st), []byte(st.Session.ID)
	var r stateReader
	var got events.State
	if n := testing.AllocsPerRun(100, func() {
		if err := r.read(key, b, &got); err != nil {
			t.Fatal(err)
		}
	}); n != 1 {
		t.Errorf("%v allocations a record, want 1", n)
	}
}

func FuzzReadState(f *testing.F) {
	for _, st := range []events.State{{}, events.StateOf(arrival("a", "here", time.Unix(1e9, 5)))} {
		f.Add([]byte(st.Session.ID), encodeState(&st))
	}
	f.Fuzz(func(t *testing.T, key, b []byte) {
		var r stateReader
		var st, again events.State
		if err := r.read(key, b, &st); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error is %v, want ErrCorrupt", err)
			}
			return
		}
		if err := r.read(key, encodeState(&st), &again); err != nil || !reflect.DeepEqual(st, again) {
			t.Fatalf("read %+v, then %+v, error %v", st, again, err)
		}
	})
}

func FuzzReadRecords(f *testing.F) {
	change := arrival("a", "here", time.Unix(1e9, 5))
	f.Add(encodeEntry(&change, []byte("{}"), time.Unix(1e9, 5)))
	f.Add((&place{name: "Here", trackedSince: time.Unix(1, 2)}).encode())
	f.Add((&savedCursor{sent: []sentMark{{1, time.Unix(1, 2)}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, entry := viewEntry(sequenceKey(1), b)
		if entry == nil {
			e.entry("")
			_, entry = e.event()
		}
		_, location := readPlace(nil, b)
		_, cursor := readCursor(b)
		_, revision := stateRevision(nil, b)
		for _, err := range []error{entry, location, cursor, revision} {
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error is %v, want ErrCorrupt", err)
			}
		}
	})
}
