package publisher

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

func TestDecide(t *testing.T) {
	then, later := time.Unix(1, 0), time.Unix(2, 0)
	cursor := Cursor{OutboxSeq: 10, StreamSeq: 100, StreamCreated: then}
	ours := func(seq, outbox uint64) mark { return mark{seq: seq, writer: "own", outbox: outbox} }
	theirs := func(seq, outbox uint64) mark { return mark{seq: seq, writer: "other", outbox: outbox} }
	for _, c := range []struct {
		name   string
		cursor Cursor
		sight  sight
		want   uint64 // outbox number to go on after
		lost   bool
		fenced bool
	}{
		{"first start", Cursor{}, sight{created: then}, 0, false, false},
		{"first answer was lost", Cursor{}, sight{created: then, end: 3, last: ours(3, 2)}, 2, false, false},
		{"takes over from another store", Cursor{}, sight{created: then, end: 90, last: theirs(80, 70)}, 0, false, false},
		{"nothing happened", cursor, sight{created: then, end: 100, last: ours(100, 10)}, 10, false, false},
		{"another account went on", cursor, sight{created: then, end: 200, last: ours(100, 10)}, 10, false, false},
		{"answer was lost", cursor, sight{created: then, end: 104, last: ours(104, 14)}, 14, false, false},
		{"taken over by another store", cursor, sight{created: then, end: 104, last: theirs(104, 3)}, 0, false, true},
		{"cursor's place taken by another store", cursor, sight{created: then, end: 100, last: theirs(100, 3)}, 0, false, true},
		{"entry was in the stream already", cursor, sight{created: then, end: 100, last: ours(100, 9)}, 10, false, false},
		{"tail lost", cursor, sight{created: then, end: 98, last: ours(97, 7)}, 7, true, false},
		{"tail lost, all of this account", cursor, sight{created: then, end: 98}, 0, true, false},
		{"tail lost, all since the store took over", cursor, sight{created: then, end: 98, last: theirs(50, 3)}, 0, true, false},
		{"tail lost and overwritten by another account", cursor, sight{created: then, end: 120, last: ours(97, 7), reused: true}, 7, true, false},
		{"rewound before, and published since", Cursor{OutboxSeq: 7, StreamSeq: 100, StreamCreated: then}, sight{created: then, end: 99, last: ours(99, 9)}, 9, false, false},
		{"last message deleted", cursor, sight{created: then, end: 100, last: ours(97, 9)}, 10, false, false},
		{"purged or aged out", cursor, sight{created: then, end: 100}, 10, false, false},
		{"made anew", cursor, sight{created: later}, 10, false, false},
		{"made anew and published to, answer lost", cursor, sight{created: later, end: 2, last: ours(2, 12)}, 12, false, false},
		{"made anew and published to by another store", cursor, sight{created: later, end: 2, last: theirs(2, 12)}, 0, false, true},
		{"made again by guestflow", cursor, sight{created: later, again: true}, 0, false, false},
		{"made again by guestflow, another account went on", cursor, sight{created: later, again: true, end: 9}, 0, false, false},
		{"made again by guestflow and published to, unnoticed", cursor, sight{created: later, again: true, end: 2, last: ours(2, 12)}, 12, false, false},
		{"made again by guestflow and published to by another store", cursor, sight{created: later, again: true, end: 2, last: theirs(2, 12)}, 0, false, true},
		{"made again by guestflow, first start", Cursor{}, sight{created: later, again: true}, 0, false, false},
		{"made again by guestflow before, nothing happened", cursor, sight{created: then, again: true, end: 100, last: ours(100, 10)}, 10, false, false},
		{"made again by guestflow before, purged", cursor, sight{created: then, again: true, end: 100}, 10, false, false},
		{"mirror promoted, tail lost", cursor, sight{created: later, again: true, end: 98, last: ours(97, 7)}, 7, true, false},
		{"mirror promoted, tail lost and overwritten by another account", cursor, sight{created: later, again: true, end: 120, last: ours(97, 7), reused: true}, 7, true, false},
		{"mirror promoted, nothing lost", cursor, sight{created: later, again: true, end: 100, last: ours(100, 10)}, 10, false, false},
		{"mirror promoted, last message deleted before", cursor, sight{created: later, again: true, end: 100, last: ours(97, 9)}, 10, false, false},
		{"mirror promoted, and published to by another store", cursor, sight{created: later, again: true, end: 98, last: theirs(97, 7)}, 0, false, true},
		{"made anew as a copy of an older state", cursor, sight{created: later, end: 90, last: ours(90, 8)}, 10, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := decide(c.cursor, "own", c.sight)
			if v.lost != c.lost || v.fenced != c.fenced || !c.fenced && v.at.outbox != c.want {
				t.Errorf("goes on after %d, lost %v, fenced %v", v.at.outbox, v.lost, v.fenced)
			}
		})
	}
}

// TestDecisionsKeepTheLog: whatever combination of lost answers, lost tails,
// crashes with a cursor that lags, and other writers there is, publishing always
// goes on right behind what the stream holds.
func TestDecisionsKeepTheLog(t *testing.T) {
	type stored struct {
		ours   bool
		outbox uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		created := time.Unix(1, 0)
		var stream []stored // at sequence i+1
		var cursor, saved Cursor
		held := func() (m mark) {
			for i, s := range stream {
				if s.ours {
					m = mark{seq: uint64(i + 1), writer: "own", outbox: s.outbox}
				}
			}
			return m
		}
		maybeSave := func(t *rapid.T) {
			if rapid.Bool().Draw(t, "cursor is written") {
				saved = cursor
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				last := held()
				s := sight{created: created, end: uint64(len(stream)), last: last, tail: last.seq}
				s.reused = last.seq < cursor.StreamSeq && s.end >= cursor.StreamSeq
				v := decide(cursor, "own", s)
				if v.fenced || v.at.outbox != last.outbox || v.at.last != last.seq {
					t.Fatalf("cursor %+v, stream %v: goes on after %d, want %d", cursor, stream, v.at.outbox, last.outbox)
				}
				if v.lost {
					cursor.OutboxSeq = v.at.outbox
					saved = cursor // Rewind is durable
				}
				cursor = Cursor{OutboxSeq: v.at.outbox, StreamSeq: v.at.last, StreamCreated: created}
				maybeSave(t)
				n := rapid.IntRange(0, 4).Draw(t, "entries")
				for i := range n {
					stream = append(stream, stored{true, v.at.outbox + uint64(i) + 1})
				}
				if n > 0 && rapid.Bool().Draw(t, "answered") {
					cursor = Cursor{OutboxSeq: v.at.outbox + uint64(n), StreamSeq: uint64(len(stream)), StreamCreated: created}
					maybeSave(t)
				}
			},
			"another account": func(t *rapid.T) {
				stream = append(stream, make([]stored, rapid.IntRange(1, 4).Draw(t, "messages"))...)
			},
			"power loss at the server": func(t *rapid.T) {
				stream = stream[:len(stream)-rapid.IntRange(0, len(stream)).Draw(t, "lost messages")]
			},
			"crash": func(*rapid.T) { cursor = saved },
		})
	})
}

// TestForeignMessageHidesNoneOfOurs: somebody's `nats pub` is the account's newest message, in
// a stream that lost its tail, and in a mirror that was promoted. What is before it is not
// sent again, what was lost is, and another outbox that went on is noticed.
func TestForeignMessageHidesNoneOfOurs(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		for _, c := range []struct {
			name     string
			promoted bool // a copy of the stream that was lost, in place of the same with a tail lost
			others   int  // messages of another account, before the foreign ones
			foreign  int
			fenced   bool
		}{
			{"tail lost", false, 0, 1, false},
			{"tail lost, and as much stored since", false, 40, 30, false},
			{"mirror promoted", true, 0, 1, false},
			{"mirror promoted, and as much stored since", true, 40, 30, false},
			{"mirror promoted, and another store went on", true, 0, 3, true},
		} {
			t.Run(c.name, func(t *testing.T) {
				b := startBroker(t)
				js := connect(t, b.URL())
				ctx := testContext(t)
				ensure(t, js)
				store, other := newMemory("a"), newMemory("b")
				publish := func(s *memory, n int) error {
					s.add(n)
					p, _ := newTestPublisher(js, s, way)
					return p.Drain(ctx)
				}
				if err := publish(store, 50); err != nil {
					t.Fatal(err)
				}
				b.stop()
				kept := t.TempDir()
				if err := os.CopyFS(kept, os.DirFS(b.dir)); err != nil {
					t.Fatal(err)
				}
				b.start()
				if err := publish(store, 50); err != nil {
					t.Fatal(err)
				}
				b.stop()
				restore(t, kept, b.dir)
				b.start()
				js = connect(t, b.URL())
				if c.promoted {
					cursor := store.Cursor()
					cursor.StreamCreated = cursor.StreamCreated.Add(-time.Hour) // that of what was copied
					if err := store.Acked(cursor); err != nil {
						t.Fatal(err)
					}
					s, err := js.Stream(ctx, testStream)
					if err != nil {
						t.Fatal(err)
					}
					config := s.CachedInfo().Config
					config.Metadata = map[string]string{events.MetadataMade: events.MadeAgain}
					if _, err := js.UpdateStream(ctx, config); err != nil {
						t.Fatal(err)
					}
				}
				if c.others > 0 {
					if err := publish(other, c.others); err != nil {
						t.Fatal(err)
					}
				}
				if c.fenced {
					fresh := newMemory("a")
					fresh.add(1)
					fresh.entries[0].ID = "another's"
					if err := publish(fresh, 0); err != nil {
						t.Fatal(err)
					}
				}
				for range c.foreign {
					if _, err := js.Publish(ctx, "guest.sessions.a.x.started", []byte("hello")); err != nil {
						t.Fatal(err)
					}
				}
				forgetIDs(t, js)
				err := publish(store, 5)
				if c.fenced {
					if !errors.Is(err, ErrFenced) {
						t.Errorf("another store went on: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got := slices.DeleteFunc(stored(t, js, "a"), func(id string) bool { return id == "" })
				if want := store.ids(); !slices.Equal(got, want) {
					t.Errorf("%d events in the stream, %d different ones, want %d", len(got), len(slices.Compact(slices.Sorted(slices.Values(got)))), len(want))
				}
			})
		}
	})
}
