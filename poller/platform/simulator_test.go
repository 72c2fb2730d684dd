package platform

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

// simulated serves a simulated platform on loopback, and returns it with a client
// of it.
func simulated(t *testing.T, edit func(*simulator.Config)) (*simulator.Simulator, *Client) {
	t.Helper()
	cfg := simulator.Config{
		Seed: 7, BasePath: "/api/v1", Token: secret, HasLocations: true, HasCount: true, RateLimit: -1,
		Locations: []simulator.Location{{ID: "loc-a", Name: "Harbour", MeanOnline: 120}, {ID: "loc-b", Name: "Station", MeanOnline: 30}},
	}
	if edit != nil {
		edit(&cfg)
	}
	now := noon
	sim := simulator.New(cfg, func() time.Time { return now })
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return sim, client(t, server.URL+cfg.BasePath+"/", func(c *Config) {
		c.Timeout = 10 * time.Second
		c.Now = func() time.Time { return now }
	})
}

var isOnline = true

func TestSimulatedListIsReadWhole(t *testing.T) {
	for name, edit := range map[string]func(*simulator.Config){
		"documented":        nil,
		"per_page as text":  func(c *simulator.Config) { c.PerPageString = true },
		"links with filter": func(c *simulator.Config) { c.NextKeepsFilters = true },
		"duplicates": func(c *simulator.Config) {
			c.Faults = []simulator.Fault{{Kind: simulator.FaultDuplicate, Percent: 100}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim, c := simulated(t, edit)
			var got []events.Session
			for number := 1; ; number++ {
				page, err := c.Sessions(t.Context(), Query{Online: &isOnline, PerPage: MaxPerPage, Page: number})
				if err != nil || len(page.Skipped) > 0 || page.Suspicious != "" || page.Number != number || page.PerPage != MaxPerPage || page.Records != len(page.Sessions) {
					t.Fatalf("page %d: %+v %v", number, page, err)
				}
				got = append(got, page.Sessions...)
				if !page.More {
					break
				}
			}
			want, _ := sim.List(simulator.Query{Online: simulator.Online, PerPage: MaxPerPage, Page: 1})
			rest, more := sim.List(simulator.Query{Online: simulator.Online, PerPage: MaxPerPage, Page: 2})
			if want = append(want, rest...); more || len(want) < MaxPerPage {
				t.Fatalf("%d sessions online, more %t: the estate does not fit the test", len(want), more)
			}
			if name == "duplicates" {
				if len(got) <= len(want) {
					t.Errorf("%d records of %d sessions: none was repeated", len(got), len(want))
				}
				seen := map[string]bool{}
				got = slices.DeleteFunc(got, func(s events.Session) bool { was := seen[s.ID]; seen[s.ID] = true; return was })
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d sessions were read, and are not the %d that are online", len(got), len(want))
			}
			n, _, err := c.Count(t.Context(), Query{Online: &isOnline})
			if err != nil || n != len(want) {
				t.Errorf("count %d %v, want %d", n, err, len(want))
			}
		})
	}
}

func TestSimulatedFiltersArriveAsMeant(t *testing.T) {
	sim, c := simulated(t, nil)
	all, _ := sim.List(simulator.Query{Online: simulator.Online, PerPage: 1, Page: 1})
	one, day := all[0], noon.Format(time.DateOnly)
	off := false
	for name, q := range map[string]struct {
		ours   Query
		theirs simulator.Query
	}{
		"location": {Query{LocationID: "loc-b"}, simulator.Query{Location: "loc-b"}},
		"offline":  {Query{Online: &off}, simulator.Query{Online: simulator.Offline}},
		"guest":    {Query{GuestID: one.GuestID}, simulator.Query{Guest: one.GuestID}},
		"mac":      {Query{DeviceMAC: one.DeviceMAC}, simulator.Query{MAC: one.DeviceMAC}},
		"yas":      {Query{YasID: one.YasID}, simulator.Query{Yas: one.YasID}},
		"start":    {Query{StartDate: day}, simulator.Query{StartDay: noon.Truncate(24 * time.Hour)}},
		"end":      {Query{EndDate: day}, simulator.Query{EndDay: noon.Truncate(24 * time.Hour)}},
		"nobody":   {Query{GuestID: "a&online=true"}, simulator.Query{Guest: "a&online=true"}},
	} {
		q.ours.PerPage, q.theirs.PerPage = MaxPerPage, MaxPerPage
		want, more := sim.List(q.theirs)
		page, err := c.Sessions(t.Context(), q.ours)
		if err != nil || !slices.Equal(page.Sessions, want) || page.More != more {
			t.Errorf("%s: %d sessions %v, want %d", name, len(page.Sessions), err, len(want))
		}
		if n, _, err := c.Count(t.Context(), q.ours); err != nil || n != sim.Count(q.theirs) {
			t.Errorf("%s: count %d %v", name, n, err)
		}
	}
}

func TestSimulatedGuestsAreFound(t *testing.T) {
	sim, c := simulated(t, nil)
	online, _ := sim.List(simulator.Query{Online: simulator.Online, PerPage: MaxPerPage})
	var ips []string
	for _, s := range online {
		ips = append(ips, s.DeviceIP)
	}
	for _, n := range []int{1, 2, MaxIPs} {
		guests, m, err := c.Guests(t.Context(), ips[:n])
		if err != nil || len(guests) != n || m.Status != 200 {
			t.Fatalf("%d addresses: %d guests, %v", n, len(guests), err)
		}
		for i, g := range guests {
			if g.IP != ips[i] || g.Username == "" || g.Name == "" || g.Email == "" || g.Duration < 0 {
				t.Errorf("%s: %+v", ips[i], g)
			}
		}
	}
	guests, _, err := c.Guests(t.Context(), []string{"192.0.2.1", ips[0]})
	if err != nil || len(guests) != 1 || guests[0].IP != ips[0] {
		t.Errorf("a stranger and a guest: %+v %v", guests, err)
	}
	_, _, err = c.Guests(t.Context(), []string{"192.0.2.1"})
	if e := fault(t, err); e.Kind != NotFound {
		t.Errorf("a stranger: %v", err)
	}
}

func TestSimulatedLocationsAreRead(t *testing.T) {
	_, c := simulated(t, func(cfg *simulator.Config) {
		cfg.Locations = simulator.Venues("loc-%d", 150, 1)
	})
	var all []Location
	for number, more := 1, true; more; number++ {
		p, err := c.Locations(t.Context(), number)
		if err != nil || p.Skipped != 0 {
			t.Fatalf("%+v %v", p, err)
		}
		all, more = append(all, p.Locations...), p.More
	}
	if len(all) != 150 || all[149] != (Location{ID: "loc-149", Name: "Venue 149"}) {
		t.Errorf("%d locations", len(all))
	}
	_, bare := simulated(t, func(cfg *simulator.Config) { cfg.HasLocations, cfg.HasCount = false, false })
	for _, endpoint := range []Endpoint{Locations, Count} {
		if e := fault(t, ask[endpoint](t.Context(), bare)); endpoint == Locations && e.Kind != NotFound {
			t.Errorf("%s where there is none: %v", endpoint, e)
		}
	}
}

func TestSimulatedFaultsHaveTheirKinds(t *testing.T) {
	type kindsOf map[ErrorKind]bool
	for spec, want := range map[string]kindsOf{
		"429=7%100":     {RateLimited: true},
		"5xx%100":       {Server: true},
		"5xx=503%100":   {Server: true},
		"html%100":      {Malformed: true, Server: true},
		"revoked%100":   {Unauthorised: true},
		"forbidden%100": {Forbidden: true},
		// Without Content-Length a cut body ends like a whole one.
		"cut%100":   {Network: true, Malformed: true},
		"stall%100": {TimedOut: true},
	} {
		t.Run(spec, func(t *testing.T) {
			f, err := simulator.ParseFault(spec)
			if err != nil {
				t.Fatal(err)
			}
			sim, c := simulated(t, func(cfg *simulator.Config) {
				cfg.RateLimit = 1000
				cfg.Faults = []simulator.Fault{f}
				cfg.Sleep = func(ctx context.Context, d time.Duration) error {
					if d < time.Second {
						return ctx.Err()
					}
					<-ctx.Done() // a stall lasts until the client has had enough
					return ctx.Err()
				}
			})
			if f.Kind == simulator.FaultStall {
				c.cfg.Timeout = 30 * time.Millisecond
			}
			online, _ := sim.List(simulator.Query{Online: simulator.Online, PerPage: 1})
			requests := maps.Clone(ask)
			requests[Guests] = func(ctx context.Context, c *Client) error {
				_, _, err := c.Guests(ctx, []string{online[0].DeviceIP})
				return err
			}
			for range 4 {
				for endpoint, request := range requests {
					err := request(t.Context(), c)
					if err == nil {
						t.Errorf("%s: no error", endpoint)
						continue
					}
					e := fault(t, err)
					if !want[e.Kind] {
						t.Errorf("%s: %v", endpoint, err)
					}
					if f.Kind == simulator.FaultLimit && (e.RetryAfter != 7*time.Second || e.Meta.Remaining != 0 || e.Meta.Limit != 1000) {
						t.Errorf("%s: wait %v, %+v", endpoint, e.RetryAfter, e.Meta)
					}
				}
			}
		})
	}
}

func TestSimulatedLimiterIsUnderstood(t *testing.T) {
	_, c := simulated(t, func(cfg *simulator.Config) { cfg.RateLimit = 3 })
	for i := range 3 {
		_, m, err := c.Count(t.Context(), Query{})
		if err != nil || m.Limit != 3 || m.Remaining != 2-i {
			t.Fatalf("%+v %v", m, err)
		}
	}
	_, _, err := c.Count(t.Context(), Query{})
	if e := fault(t, err); e.Kind != RateLimited || e.RetryAfter <= 0 || e.RetryAfter > time.Minute || e.Meta.Remaining != 0 {
		t.Errorf("%v, wait %v", err, e.RetryAfter)
	}
	if _, err := c.Sessions(t.Context(), Query{}); err != nil {
		t.Errorf("the list has a budget of its own: %v", err)
	}
}

func TestSimulatedDamageIsCountedAndTheRestRead(t *testing.T) {
	sim, c := simulated(t, func(cfg *simulator.Config) {
		cfg.Faults = []simulator.Fault{{Kind: simulator.FaultDamaged, Percent: 100}}
	})
	truth := map[string]events.Session{}
	all, _ := sim.List(simulator.Query{Online: simulator.Online, PerPage: MaxPerPage})
	for _, s := range all {
		truth[s.ID] = s
	}
	skipped, intact := 0, 0
	for range 20 {
		page, err := c.Sessions(t.Context(), Query{Online: &isOnline, PerPage: MaxPerPage})
		if err != nil || page.Records != len(all) || page.Records != len(page.Sessions)+len(page.Skipped) {
			t.Fatalf("%d records, %d read, %d skipped: %v", page.Records, len(page.Sessions), len(page.Skipped), err)
		}
		skipped += len(page.Skipped)
		for _, s := range page.Sessions {
			want, ok := truth[s.ID]
			if !ok || s.LocationID != want.LocationID || !s.Online {
				t.Fatalf("%+v, want %+v", s, want)
			}
			if s == want {
				intact++
			}
		}
	}
	if skipped == 0 || intact == 0 {
		t.Errorf("%d records were skipped, %d intact", skipped, intact)
	}
}

func TestSimulatedHostileLinksAreReported(t *testing.T) {
	for trick, suspicious := range map[string]bool{"host": true, "same": true, "first": true, "endless": false} {
		_, c := simulated(t, func(cfg *simulator.Config) {
			cfg.Faults = []simulator.Fault{{Kind: simulator.FaultNext, Next: trick, Percent: 100}}
		})
		page, err := c.Sessions(t.Context(), Query{PerPage: 10, Page: 2})
		if err != nil || !page.More || (page.Suspicious != "") != suspicious {
			t.Errorf("%s: more %t, %q %v", trick, page.More, page.Suspicious, err)
		}
	}
}

func TestSimulatedTokenIsChecked(t *testing.T) {
	for _, edit := range []func(*Config){
		func(c *Config) { c.Token = "another" }, func(c *Config) { c.Token = "" }, func(c *Config) { c.AuthScheme = "Basic" }, func(c *Config) { c.AuthHeader = "X-Key" },
	} {
		_, good := simulated(t, nil)
		c := client(t, good.cfg.BaseURL, edit)
		if e := fault(t, ask[Sessions](t.Context(), c)); e.Kind != Unauthorised {
			t.Error(e)
		}
	}
	_, c := simulated(t, func(cfg *simulator.Config) { cfg.AuthHeader, cfg.AuthScheme = "X-Key", "-" })
	own := client(t, c.cfg.BaseURL, func(cfg *Config) { cfg.AuthHeader, cfg.AuthScheme = "X-Key", "-" })
	if err := ask[Sessions](t.Context(), own); err != nil {
		t.Error(err)
	}
}

func TestSimulatedClockIsEstimated(t *testing.T) {
	_, c := simulated(t, func(cfg *simulator.Config) { cfg.ClockSkew = 90 * time.Second })
	if err := ask[Sessions](t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if from, to := c.Clock().Bounds(noon); from.After(noon.Add(90*time.Second)) || to.Before(noon.Add(90*time.Second)) || to.Sub(from) > time.Second {
		t.Errorf("%v to %v", from, to)
	}
}

// TestSimulatedMisroutesAreNotFound: a base URL that is off leads nowhere.
func TestSimulatedMisroutesAreNotFound(t *testing.T) {
	sim, _ := simulated(t, nil)
	server := httptest.NewServer(http.StripPrefix("/deeper", sim))
	t.Cleanup(server.Close)
	for _, base := range []string{server.URL + "/deeper", server.URL, server.URL + "/deeper/api/v1/sessions"} {
		err := ask[Count](t.Context(), client(t, base, nil))
		if e := fault(t, err); e.Kind != NotFound || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", base, err)
		}
	}
}
