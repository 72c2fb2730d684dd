package poller_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// crowd is a platform of n sessions online, 100 a location, newest first, of whom nobody
// comes or goes.
type crowd struct {
	client *platform.Client
	n      int
	noon   time.Time
	shown  int // positions of the list that were shown
	body   bytes.Buffer
}

func (c *crowd) Sessions(_ context.Context, q platform.Query) (platform.Page, error) {
	from := (q.Page - 1) * q.PerPage
	to := min(from+q.PerPage, c.n)
	b := &c.body
	b.Reset()
	b.WriteString(`{"data":[`)
	for i := from; i < to && q.Online != nil && *q.Online; i++ {
		if i > from {
			b.WriteByte(',')
		}
		// As the platform's ids, these are in no order.
		h, at := uint32(i)*2654435761, c.noon.Add(-time.Duration(i)*3*time.Millisecond)
		fmt.Fprintf(b, `{"id":"%08x%03d","location_id":"oWNe6X%05d","location_name":"Venue %05[3]d","guest_device_description":"WebKit","guest_device_mac":"14:2d:27:%02x:%02x:%02x","guest_device_ip":"172.%d.%d.%d","access_code":"","login_type_name":"Registration","service_profile_name":"Default Service Profile - 60 Minute(s)","total_duration":"00:09:05","downloaded_data":"%d.34 MB","uploaded_data":"900.58 kB","connection_status":"Online","connection_status_value":1,"start_time":"%s","end_time":null,"guest_id":"g%07d","yas_id":"8f627d10-1abc-44d8-b964-%012x"}`,
			h, i%1000, h%uint32(max(1, c.n/100)), i>>16&255, i>>8&255, i&255, i>>16&255, i>>8&255, i&255, i%1000, at.Format(time.RFC3339), i, h)
	}
	next := "null"
	if to < c.n {
		next = fmt.Sprintf(`"http://platform.test/sessions?page=%d"`, q.Page+1)
	}
	fmt.Fprintf(b, `],"links":{"first":"x?page=1","last":null,"prev":null,"next":%s},"meta":{"current_page":%d,"from":1,"path":"x","per_page":%d,"to":100}}`, next, q.Page, q.PerPage)
	c.shown = max(c.shown, to)
	return c.client.DecodePage(b.Bytes(), q)
}

func (c *crowd) Locations(context.Context, int) (platform.LocationPage, error) {
	return platform.LocationPage{}, nil
}

func (c *crowd) Count(context.Context, platform.Query) (int, platform.Meta, error) {
	return c.n, platform.Meta{}, nil
}

// staging has commits wait as the running program does.
type staging struct{ *store.Store }

func (s staging) Commit(c store.Commit) error        { return s.Stage(c) }
func (s staging) Put(key string, value []byte) error { return s.StageValue(key, value) }

// BenchmarkFirstReading is what each session costs when all are new, from the pages to
// the outbox, in which they are confirmed as they come: the same however many there are.
func BenchmarkFirstReading(b *testing.B) {
	for _, n := range []int{20_000, 100_000, 300_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				readAll(b, n)
			}
		})
	}
}

func readAll(b *testing.B, n int) {
	b.StopTimer()
	client, err := platform.New(platform.Config{BaseURL: "http://platform.test"})
	if err != nil {
		b.Fatal(err)
	}
	st, err := store.Open(filepath.Join(b.TempDir(), "state.db"), store.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	c := &crowd{client: client, n: n, noon: time.Now().Add(-time.Minute).Truncate(time.Second)}
	budgets := make(map[platform.Endpoint]*budget.Budget)
	for _, e := range platform.Endpoints() {
		budgets[e] = budget.New(120_000, nil, time.Now())
	}
	p := poller.New(poller.Settings{
		Account: "bench", Platform: c, Store: staging{st}, Clock: poller.SystemClock{}, Strategy: &plan.Adaptive{},
		Rules: diff.Rules{TrafficMinBytes: 1_000_000}, Budgets: budgets,
	})
	ctx, end := context.WithCancel(b.Context())
	var confirming sync.WaitGroup
	confirming.Go(func() { confirm(ctx, b, st) })
	before := allocated()
	b.StartTimer()
	began := time.Now()
	for st.Outbox().Last < uint64(n) {
		if err := p.Step(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	took, garbage := time.Since(began), allocated()-before
	end()
	confirming.Wait()
	b.ReportMetric(float64(took.Microseconds())/float64(n), "µs/session")
	b.ReportMetric(float64(garbage)/1000/float64(n), "kB-allocated/session")
	b.StartTimer()
}

// confirm takes what is in the outbox, as a publisher whose stream answers at once.
func confirm(ctx context.Context, b *testing.B, st *store.Store) {
	for seq := uint64(0); ; {
		entries, err := st.Take(seq, 1000)
		if err != nil {
			b.Error(err)
			return
		}
		if len(entries) > 0 {
			seq = entries[len(entries)-1].Seq
			if err := st.Acked(store.Cursor{OutboxSeq: seq, StreamSeq: seq}); err != nil {
				b.Error(err)
				return
			}
			continue
		}
		select {
		case <-st.Wake():
		case <-ctx.Done():
			return
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
