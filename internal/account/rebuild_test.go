package account

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// there is a stream that is there.
type there struct{ js jetstream.JetStream }

func (l there) JetStream() jetstream.JetStream        { return l.js }
func (l there) AwaitStream(ctx context.Context) error { return ctx.Err() }
func (l there) Reached() error                        { return nil }

// BenchmarkRebuild rebuilds the state of an account from a stream with two events of
// each of its sessions.
func BenchmarkRebuild(b *testing.B) {
	for _, sessions := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			server := natstest.New(b)
			server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
			js := server.JetStream()
			subjects, err := events.NewSubjects(events.DefaultPrefix)
			if err != nil {
				b.Fatal(err)
			}
			fill(b, js, subjects, sessions)
			used := processorTime(b)
			for b.Loop() {
				st, err := store.Open(b.TempDir()+"/default.db", store.Options{})
				if err != nil {
					b.Fatal(err)
				}
				a := &Account{Store: st, link: there{js}, settings: Settings{
					Name: "default", Stream: events.DefaultStream, Subjects: subjects, Log: slog.New(slog.DiscardHandler),
				}}
				if err := a.rebuild(b.Context()); err != nil {
					b.Fatal(err)
				}
				n := 0
				if err := st.All(func(events.State) bool { n++; return true }); err != nil || n != sessions {
					b.Fatalf("%d sessions, %v", n, err)
				}
				if err := st.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((processorTime(b)-used).Seconds()/float64(b.N), "cpu-s/op") // the server's as well
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill publishes an arrival and a traffic event of each session.
func fill(b *testing.B, js jetstream.JetStream, subjects events.Subjects, sessions int) {
	b.Helper()
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for revision := int64(1); revision <= 2; revision++ {
		for i := range sessions {
			e := events.Event{Account: "default", Kind: events.Started, Time: at}
			e.Data = events.Data{Revision: revision, Episode: 1, Observed: events.Observed{At: at}}
			e.Data.Session = events.Session{
				ID: fmt.Sprintf("pR3zOK%06d", i), LocationID: fmt.Sprintf("place-%d", i%200), GuestID: "guest", DeviceMAC: "14:2d:27:e7:40:2b",
				Online: true, StartedAt: at, DurationSeconds: 600, Downloaded: events.Bytes{Value: 3000 * revision}, Uploaded: events.Bytes{Value: 1000},
			}
			if revision > 1 {
				e.Kind, e.Data.Change = events.Traffic, &events.Change{DownloadedBytes: 3000}
			}
			e = e.Sealed()
			body, err := events.Encode(e)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := js.PublishMsgAsync(written(e, body, i+1), jetstream.WithMsgID(e.ID)); err != nil {
				b.Fatal(err)
			}
			if i%2000 == 0 {
				<-js.PublishAsyncComplete()
			}
		}
	}
	<-js.PublishAsyncComplete()
	if tail, err := publisher.FindTail(b.Context(), js, events.DefaultStream, subjects, "default"); err != nil || tail.Seq != uint64(2*sessions) {
		b.Fatalf("the stream ends at %+v, %v", tail, err)
	}
}
