package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
	"golang.org/x/time/rate"
)

// naive is the poller that people would write in an afternoon: location by location,
// a comparison of sets, Publish, and what is known in bbolt. It proves no end, forgets
// its limit and repeats or loses events when it is killed.
type naive struct {
	api   string
	limit *rate.Limiter
	js    jetstream.JetStream
	db    *bbolt.DB
	known map[string]map[string]*guest // by location and session
}

// guest is a record as it comes. What it has loaded when it was last published is
// kept beside it.
type guest struct {
	ID          string `json:"id"`
	LocationID  string `json:"location_id"`
	Location    string `json:"location_name"`
	Description string `json:"guest_device_description"`
	MAC         string `json:"guest_device_mac"`
	IP          string `json:"guest_device_ip"`
	AccessCode  string `json:"access_code"`
	Login       string `json:"login_type_name"`
	Profile     string `json:"service_profile_name"`
	Duration    string `json:"total_duration"`
	Downloaded  string `json:"downloaded_data"`
	Uploaded    string `json:"uploaded_data"`
	Started     string `json:"start_time"`
	Ended       string `json:"end_time"`
	GuestID     string `json:"guest_id"`
	YasID       string `json:"yas_id"`
	told        float64
}

// list is a page of any endpoint.
type list[T any] struct {
	Data  []T `json:"data"`
	Links struct {
		Next *string `json:"next"`
	} `json:"links"`
}

// Naive polls with the naive poller until ctx ends.
func Naive(ctx context.Context, api, server, db string, limit int) error {
	conn, err := nats.Connect(server)
	if err != nil {
		return err
	}
	defer conn.Close()
	n := &naive{api: api, limit: rate.NewLimiter(rate.Limit(float64(limit)/60), 1), known: make(map[string]map[string]*guest)}
	if n.js, err = jetstream.New(conn); err != nil {
		return err
	}
	if _, err := n.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: naiveStream, Subjects: []string{"naive.>"}}); err != nil {
		return err
	}
	if n.db, err = bbolt.Open(db, 0o600, nil); err != nil {
		return err
	}
	defer n.db.Close()
	type venue struct {
		ID string `json:"id"`
	}
	venues, err := all[venue](ctx, n, "/locations", url.Values{})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		for _, v := range venues {
			shown, err := all[*guest](ctx, n, "/sessions", url.Values{"online": {"true"}, "location_id": {v.ID}})
			if err == nil {
				err = n.compare(ctx, v.ID, shown)
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

// all reads a list page by page.
func all[T any](ctx context.Context, n *naive, path string, query url.Values) (items []T, err error) {
	query.Set("per_page", "100")
	for page := 1; ; page++ {
		query.Set("page", strconv.Itoa(page))
		var l list[T]
		if err := n.get(ctx, path+"?"+query.Encode(), &l); err != nil {
			return nil, err
		}
		if items = append(items, l.Data...); l.Links.Next == nil {
			return items, nil
		}
	}
}

func (n *naive) get(ctx context.Context, path string, into any) error {
	if err := n.limit.Wait(ctx); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.api+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// compare publishes what differs from what was known of a location, and keeps it.
func (n *naive) compare(ctx context.Context, venue string, shown []*guest) error {
	was, again := n.known[venue]
	is := make(map[string]*guest, len(shown))
	var changed []*guest
	for _, g := range shown {
		is[g.ID] = g
		g.told = loaded(g)
		switch old := was[g.ID]; {
		case old == nil && !again:
		case old == nil:
			if err := n.publish(ctx, "started", g); err != nil {
				return err
			}
		case g.told-old.told >= trafficMin:
			if err := n.publish(ctx, "traffic", g); err != nil {
				return err
			}
		default:
			g.told = old.told
			continue
		}
		changed = append(changed, g)
	}
	var gone []*guest
	for id, g := range was {
		if is[id] == nil {
			if err := n.publish(ctx, "ended", g); err != nil {
				return err
			}
			gone = append(gone, g)
		}
	}
	n.known[venue] = is
	if len(changed)+len(gone) == 0 {
		return nil
	}
	return n.db.Update(func(tx *bbolt.Tx) error { return keep(tx, venue, changed, gone) })
}

func keep(tx *bbolt.Tx, venue string, changed, gone []*guest) error {
	b, err := tx.CreateBucketIfNotExists([]byte(venue))
	if err != nil {
		return err
	}
	for _, g := range changed {
		record, err := json.Marshal(g)
		if err != nil {
			return err
		}
		if err := b.Put([]byte(g.ID), record); err != nil {
			return err
		}
	}
	for _, g := range gone {
		if err := b.Delete([]byte(g.ID)); err != nil {
			return err
		}
	}
	return nil
}

func (n *naive) publish(ctx context.Context, kind string, g *guest) error {
	body, err := json.Marshal(struct {
		Kind    string    `json:"kind"`
		Time    time.Time `json:"time"`
		Session *guest    `json:"session"`
	}{kind, time.Now(), g})
	if err != nil {
		return err
	}
	// While it is stopped for others to be measured the clock goes on, past the 5 s that
	// the client gives an answer.
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	_, err = n.js.Publish(ctx, "naive."+g.LocationID+"."+kind, body)
	return err
}

// loaded are the bytes of both directions.
func loaded(g *guest) (sum float64) {
	for _, text := range []string{g.Downloaded, g.Uploaded} {
		number, unit, _ := strings.Cut(text, " ")
		v, _ := strconv.ParseFloat(number, 64) // Nothing of what cannot be read.
		for _, u := range []struct {
			name   string
			factor float64
		}{{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}} {
			if unit == u.name {
				v *= u.factor
			}
		}
		sum += v
	}
	return sum
}
