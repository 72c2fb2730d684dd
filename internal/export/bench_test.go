package export

import (
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// endings are events of sessions that ended, as a busy estate has them.
func endings(n int) []events.Event {
	all := make([]events.Event, n)
	for i := range all {
		at := noon.Add(time.Duration(i) * time.Second / 10)
		all[i] = events.Event{Account: "default", Kind: events.Ended, Time: at, Data: events.Data{
			Revision: 9,
			Session: events.Session{
				ID: fmt.Sprintf("pR3zOKm%d", i), LocationID: fmt.Sprintf("oWNe%d", i%300), LocationName: fmt.Sprintf("Venue %d", i%300),
				GuestID: fmt.Sprintf("ajKeD%d", i%50000), YasID: "8f627d10-1abc-44d8-b964-a7816388173a",
				DeviceMAC: fmt.Sprintf("14:2d:27:%02x:%02x:%02x", i>>16&255, i>>8&255, i&255), DeviceIP: fmt.Sprintf("172.31.%d.%d", i>>8&255, i&255),
				DeviceDescription: "WebKit", LoginType: "Registration", ServiceProfile: "Default Service Profile - 60 Minute(s)",
				StartedAt: at.Add(-time.Hour), EndedAt: at, DurationSeconds: 3600,
				Downloaded: events.Bytes{Value: int64(3_340_000 + i), Error: 5000}, Uploaded: events.Bytes{Value: int64(900_580 + i), Error: 5},
			},
			Observed: events.Observed{At: at.Add(3 * time.Second), NotYetAt: at.Add(-10 * time.Second), End: events.EndReported, Proof: events.ProofRecord},
		}}.Sealed()
	}
	return all
}

// perCPU reports events for each second of processor time, which other work on the
// machine does not change, beside those of the clock.
func perCPU(b *testing.B, events int, run func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(events)*float64(b.N)/(used()-before).Seconds(), "events/cpu-s")
}

// BenchmarkParquet writes sessions to Parquet: of events that were decoded before, and of
// documents.
func BenchmarkParquet(b *testing.B) {
	const total = 200_000
	all := endings(total)
	bodies := make([][]byte, total)
	for i, e := range all {
		var err error
		if bodies[i], err = events.Encode(e); err != nil {
			b.Fatal(err)
		}
	}
	put := func(b *testing.B, row func(i int) Session) {
		perCPU(b, total, func() {
			s, err := open[Session](io.Discard, Parquet)
			if err != nil {
				b.Fatal(err)
			}
			some := make([]Session, 0, chunk)
			for i := range total {
				if some = append(some, row(i)); len(some) == chunk || i == total-1 {
					if err := s.write(some); err != nil {
						b.Fatal(err)
					}
					some = some[:0]
				}
			}
			if err := s.close(Report{}); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("decoded before", func(b *testing.B) {
		put(b, func(i int) Session { return sessionRow(uint64(i+1), &all[i]) })
	})
	b.Run("decoding included", func(b *testing.B) {
		put(b, func(i int) Session {
			e, err := events.Decode(bodies[i])
			if err != nil {
				b.Error(err)
			}
			return sessionRow(uint64(i+1), &e)
		})
	})
}

// BenchmarkSessions reads a stream of a server with file storage into Parquet.
func BenchmarkSessions(b *testing.B) {
	const total = 100_000
	js, stream := streamOf(b)
	for _, e := range endings(total) {
		body, err := events.Encode(e)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishAsync(events.Subjects{}.Of(e), body, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	perCPU(b, total, func() {
		report, err := Sessions(b.Context(), stream, Request{Format: Parquet}, io.Discard)
		if err != nil || report.Rows != total {
			b.Fatalf("%+v, %v", report, err)
		}
	})
}
