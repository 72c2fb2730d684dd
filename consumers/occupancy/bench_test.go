package occupancy

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/group"
)

// BenchmarkApply folds a stream of 3,000 sessions at 200 locations; Decode
// includes reading each event from its bytes.
func BenchmarkApply(b *testing.B) {
	list := newVenue(1, 200, 3000).messages(100_000, 50*time.Millisecond)
	bodies := make([][]byte, len(list))
	for i := range list {
		bodies[i] = encoded(b, list[i].Event)
	}
	for _, mode := range []string{"Fold", "Decode"} {
		b.Run(mode, func(b *testing.B) {
			b.ReportAllocs()
			o := NewOccupancy(Limits{})
			for i := range b.N {
				if i%len(list) == 0 {
					o = NewOccupancy(Limits{})
				}
				m := list[i%len(list)]
				if mode == "Decode" {
					var err error
					if m.Event, err = events.Decode(bodies[i%len(list)]); err != nil {
						b.Fatal(err)
					}
				}
				o.Apply(m)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkRebuild folds a whole stream from its bytes: 1,000,000 events, or as
// many as OCCUPANCY_EVENTS says.
func BenchmarkRebuild(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("OCCUPANCY_EVENTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			b.Fatalf("OCCUPANCY_EVENTS is %q: want a number of events", s)
		}
	}
	v := newVenue(2, 1000, 20_000)
	var all []byte // one after another, so that the collector has nothing to do
	ends := make([]int, n)
	for i := range ends {
		all = append(all, encoded(b, v.next(20*time.Millisecond).Event)...)
		ends[i] = len(all)
	}
	b.ResetTimer()
	for range b.N {
		o, from := NewOccupancy(Limits{}), 0
		for i, end := range ends {
			e, err := events.Decode(all[from:end])
			if err != nil {
				b.Fatal(err)
			}
			o.Apply(Message{Sequence: uint64(i + 1), Stored: e.Data.Observed.At, Event: e})
			from = end
		}
		if got := o.Totals(nil, v.now, 0)[0].Online; got != len(v.online) {
			b.Fatalf("%d online after the rebuild, want %d", got, len(v.online))
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkSessionMemory reports the memory of one online session, of how many things on
// the heap it consists, and what one collection costs: of 100,000 sessions at 1,000
// locations and of ten times as many at as many each.
func BenchmarkSessionMemory(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for range b.N {
				before := collected(b)
				o := NewOccupancy(Limits{})
				begin := spent(b)
				crowded(b, o, n)
				applying := spent(b) - begin
				after := collected(b)
				b.ReportMetric((after.bytes-before.bytes)/float64(n), "B/session")
				b.ReportMetric((after.objects-before.objects)/float64(n), "objects/session")
				b.ReportMetric((after.cpu-before.cpu)*1000, "GC-ms")
				b.ReportMetric(applying.Seconds()*1e6/float64(n), "µs/session")
				runtime.KeepAlive(o)
			}
		})
	}
}

// crowded has n sessions come online within an hour, each with a device of its own.
func crowded(b *testing.B, o *Occupancy, n int) {
	v := newVenue(4, n/100, n)
	for range n {
		v.now = v.now.Add(time.Hour / time.Duration(n))
		m := v.start()
		m.Event.Data.Session.DeviceMAC = fmt.Sprintf("02:00:00:%02x:%02x:%02x", v.made>>16&255, v.made>>8&255, v.made&255)
		var err error
		if m.Event, err = events.Decode(encoded(b, m.Event)); err != nil {
			b.Fatal(err)
		}
		o.Apply(m)
		v.online = v.online[:0]
	}
}

// remains are what a collection left, and the CPU time that it took.
type remains struct{ bytes, objects, cpu float64 }

func collected(b *testing.B) remains {
	b.Helper()
	runtime.GC() // what the sweep of it leaves to do is of before
	begin := spent(b)
	runtime.GC()
	took := spent(b) - begin
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return remains{float64(m.HeapAlloc), float64(m.HeapObjects), took.Seconds()}
}

// spent is the CPU time of the process.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkClients connects 2,000 browsers to one process, reports the memory
// that each takes on the server's side, and sends every event to all of them.
func BenchmarkClients(b *testing.B) {
	const clients = 2000
	v := newVenue(6, 50, 1000)
	s := filled(b, Settings{Heartbeat: time.Hour}, v.messages(2000, time.Second))
	base := serve(b, s)
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := memory()
	connections := make([]net.Conn, clients)
	for i := range connections {
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			b.Fatalf("client %d of %d: %v (are enough open files allowed? ulimit -n)", i, clients, err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /v1/stream?kind=ended HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		connections[i] = c
	}
	until(b, "every client is in", func() bool { return s.clients.Load() == clients })
	for _, c := range connections {
		awaitText(b, c, "event: status")
	}
	per := float64(memory()-before) / clients
	b.ResetTimer()
	for range b.N {
		m := v.change(0, events.Ended)
		s.take(m, encoded(b, m.Event), "", 0, true)
		mark := "id: " + strconv.FormatUint(m.Sequence, 10) + ".e1"
		for _, c := range connections {
			awaitText(b, c, mark)
		}
		v.start()
	}
	b.ReportMetric(per, "B/client")
	b.ReportMetric(float64(b.N)*clients/b.Elapsed().Seconds(), "messages/s")
}

var scratch = make([]byte, 16<<10)

// awaitText reads from a connection until a text has come.
func awaitText(b *testing.B, c net.Conn, text string) {
	b.Helper()
	n := 0
	for !strings.Contains(string(scratch[:n]), text) {
		if n == len(scratch) {
			n = copy(scratch, scratch[n-len(text):])
		}
		k, err := c.Read(scratch[n:])
		if err != nil {
			b.Fatal(err)
		}
		n += k
	}
}

// BenchmarkGroups answers /v1/groups for a tree of three levels: 1,000 locations with
// 100,000 online, in 50 regions of one country.
func BenchmarkGroups(b *testing.B) {
	const locations, regions, n = 1000, 50, 100_000
	v := newVenue(8, locations, n)
	var text strings.Builder
	text.WriteString("groups:\n  - id: country\n    groups:\n")
	for r := range regions {
		fmt.Fprintf(&text, "      - id: region-%d\n        locations: [", r)
		for l := r; l < locations; l += regions {
			fmt.Fprintf(&text, "loc-%02d, ", l)
		}
		text.WriteString("]\n")
	}
	path := filepath.Join(b.TempDir(), "groups.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	groups, err := group.Open(path, func() group.Only { return events.DefaultAccount }, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var list []Message
	for range n {
		m := v.start()
		// Each with a device of its own, and one guest in ten with two.
		m.Event.Data.Session.DeviceMAC = fmt.Sprintf("02:00:00:%02x:%02x:%02x", v.made>>16&255, v.made>>8&255, v.made&255)
		m.Event.Data.Session.GuestID = fmt.Sprint("guest-", v.made-v.made%10/9*(v.made%10/9))
		list = append(list, m)
		v.online = v.online[:0]
	}
	h := filled(b, Settings{Groups: groups}, list).Handler()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/groups", http.NoBody))
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
