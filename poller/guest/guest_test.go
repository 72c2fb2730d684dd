package guest_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/guest"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

const guestWait = 5 * time.Second

// guestbook answers look-ups as told.
type guestbook struct {
	answer func(ctx context.Context, ips []string) ([]platform.Guest, error)

	mu       sync.Mutex
	asked    [][]string
	outcomes []guest.Outcome
}

func (b *guestbook) Guests(ctx context.Context, ips []string) ([]platform.Guest, platform.Meta, error) {
	b.mu.Lock()
	b.asked = append(b.asked, ips)
	b.mu.Unlock()
	guests, err := b.answer(ctx, ips)
	return guests, platform.Meta{Limit: -1}, err
}

func (b *guestbook) LookedUp(time.Duration, error) {}

func (b *guestbook) Identified(o guest.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcomes = append(b.outcomes, o)
}

// requests returns how many addresses each request asked for.
func (b *guestbook) requests() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	var n []int
	for _, ips := range b.asked {
		n = append(n, len(ips))
	}
	return n
}

// desk runs Lookup on a real store, within a synctest bubble.
type desk struct {
	*testing.T
	*store.Store
	book  *guestbook
	taken uint64
}

func newDesk(t *testing.T, answer func(ctx context.Context, ips []string) ([]platform.Guest, error)) *desk {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.Options{NoSync: true, HoldArrivals: guestWait})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, Store: s, book: &guestbook{answer: answer}}
	lookup := &guest.Lookup{
		Platform: d.book, Store: s, Clock: poller.SystemClock{}, Budget: budget.New(60, nil, time.Now()), Observer: d.book,
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- lookup.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// arrive commits sessions that have been online for a minute, seen just now.
func (d *desk) arrive(kind events.Kind, guest string, ids, ips []string) {
	d.Helper()
	now := time.Now().UTC()
	c := store.Commit{SeenFrom: now}
	for i, id := range ids {
		e := events.Event{Account: "default", Kind: kind, Time: now}
		e.Data.Revision = 1
		e.Data.Session = events.Session{ID: id, LocationID: "here", GuestID: guest + id, DeviceIP: ips[i], Online: true, StartedAt: now.Add(-time.Minute)}
		e.Data.Observed.At = now
		if guest != "" {
			e.Data.Session.GuestID = guest
		}
		e = e.Sealed()
		c.Changes = append(c.Changes, e)
	}
	if err := d.Commit(c); err != nil {
		d.Fatal(err)
	}
}

// next waits for the next event that can be taken, and says how long that took.
func (d *desk) next() (events.Event, time.Duration) {
	d.Helper()
	began := time.Now()
	for {
		entries, err := d.Take(d.taken, 1)
		if err != nil {
			d.Fatal(err)
		}
		if len(entries) == 1 {
			d.taken = entries[0].Seq
			e, err := events.Decode(entries[0].Body)
			if err != nil {
				d.Fatal(err)
			}
			return e, time.Since(began)
		}
		<-d.Wake()
	}
}

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

// guestOf is the guest behind an address, online for a minute and a bit.
func guestOf(ip string) platform.Guest {
	return platform.Guest{IP: ip, Username: "U" + ip, Name: "Guest of " + ip, Email: ip + "@example.com", Duration: 60}
}

func known(_ context.Context, ips []string) ([]platform.Guest, error) {
	var all []platform.Guest
	for _, ip := range slices.Backward(ips) {
		all = append(all, guestOf(ip))
	}
	return all, nil
}

// stalled never answers.
func stalled(ctx context.Context, _ []string) ([]platform.Guest, error) {
	<-ctx.Done()
	return nil, &platform.Error{Kind: platform.TimedOut, Endpoint: platform.Guests, Err: ctx.Err()}
}

// TestEventIsHeldNoLongerThanConfigured, whatever the endpoint does.
func TestEventIsHeldNoLongerThanConfigured(t *testing.T) {
	failing := func(err error) func(context.Context, []string) ([]platform.Guest, error) {
		return func(context.Context, []string) ([]platform.Guest, error) { return nil, err }
	}
	fault := func(k platform.ErrorKind, wait time.Duration) error {
		return &platform.Error{Kind: k, Endpoint: platform.Guests, RetryAfter: wait}
	}
	for _, c := range []struct {
		name        string
		answer      func(context.Context, []string) ([]platform.Guest, error)
		least, most time.Duration
	}{
		{"answers", known, 0, time.Second},
		{"stalls", stalled, guestWait, guestWait},
		{"not found", failing(fault(platform.NotFound, 0)), 0, time.Second},
		{"rate limited for longer", failing(fault(platform.RateLimited, time.Minute)), 0, 0},
		{"server error", failing(fault(platform.Server, 0)), 0, guestWait},
		{"forbidden", failing(fault(platform.Forbidden, 0)), 0, 0},
		{"unknown error", failing(errors.New("no such error")), 0, guestWait},
		{"nobody", failing(nil), 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, c.answer)
				for i, id := range []string{"a", "b"} {
					d.arrive(events.Started, "", []string{id}, []string{"10.0.0." + string(rune('1'+i))})
					e, took := d.next()
					if e.Data.Session.ID != id || took < c.least || took > c.most {
						t.Errorf("%s went out after %v, want %v to %v", e.Data.Session.ID, took, c.least, c.most)
					}
					if named := e.Data.Guest != nil; named != (c.name == "answers") {
						t.Errorf("guest %+v", e.Data.Guest)
					}
				}
			})
		})
	}
}

// TestLookupsAreBatched by up to 100 addresses, and answers matched by address.
func TestLookupsAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, known)
		var ids, ips []string
		for i := range 250 {
			ids, ips = append(ids, fmt.Sprint("s", i)), append(ips, fmt.Sprintf("10.0.%d.%d", i/100, i%100))
		}
		d.arrive(events.Discovered, "", ids, ips)
		for i, ip := range ips {
			if e, _ := d.next(); e.Data.Session.ID != ids[i] || e.Data.Guest == nil || e.Data.Guest.Name != guestOf(ip).Name {
				t.Fatalf("%s: %+v", ids[i], e.Data)
			}
		}
		if got := d.book.requests(); len(got) != 3 || got[0] != platform.MaxIPs {
			t.Errorf("%d addresses were asked for by %v", len(ips), got)
		}
	})
}

// TestKnownGuestIsNotAskedForAgain: by guest_id, and only for an hour.
func TestKnownGuestIsNotAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, known)
		for i, c := range []struct {
			id, ip   string
			pass     time.Duration
			requests int
		}{{"a", "10.0.0.1", 0, 1}, {"b", "10.0.0.2", time.Minute, 1}, {"c", "10.0.0.3", time.Hour, 2}} {
			pass(c.pass)
			d.arrive(events.Started, "ada", []string{c.id}, []string{c.ip})
			e, _ := d.next()
			if n := len(d.book.requests()); n != c.requests || e.Data.Guest == nil || e.Data.Observed.Guest != events.GuestConfirmed {
				t.Errorf("%d: %d requests, guest %+v", i, n, e.Data.Guest)
			}
		}
	})
}

// TestOneAnswerNamesOneGuest: sessions of two guests that both claim the address
// get nobody, and neither does one without an address.
func TestOneAnswerNamesOneGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, known)
		d.arrive(events.Started, "", []string{"a", "b", "c", "d"}, []string{"10.0.0.1", "10.0.0.1", "10.0.0.2", ""})
		for range 4 {
			if e, _ := d.next(); (e.Data.Guest != nil) != (e.Data.Session.ID == "c") {
				t.Errorf("%s: %+v", e.Data.Session.ID, e.Data.Guest)
			}
		}
		slices.Sort(d.book.outcomes)
		if want := []guest.Outcome{guest.Another, guest.Another, guest.Confirmed, guest.NoAddress}; !slices.Equal(d.book.outcomes, want) {
			t.Errorf("outcomes %v, want %v", d.book.outcomes, want)
		}
	})
}

// TestAddressThatPassedOnNamesNobody is the plain case: the guest who holds the
// address at the look-up came after the one whom the poll showed there.
func TestAddressThatPassedOnNamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(_ context.Context, ips []string) ([]platform.Guest, error) {
			pass(2 * time.Second) // meanwhile the address passes on
			eve := guestOf(ips[0])
			eve.Name, eve.Duration = "Eve Example", 1
			return []platform.Guest{eve}, nil
		})
		d.arrive(events.Started, "", []string{"a"}, []string{"10.0.0.1"})
		e, took := d.next()
		if e.Data.Guest != nil || e.Data.Observed.Guest != "" || took != 2*time.Second {
			t.Errorf("after %v: %+v", took, e.Data)
		}
		if !slices.Equal(d.book.outcomes, []guest.Outcome{guest.Another}) {
			t.Errorf("outcomes %v", d.book.outcomes)
		}
	})
}
