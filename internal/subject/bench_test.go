package subject

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// cpuTime is that of the process, the server in it included.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkForget finds and erases a guest among 1,000,000 events of 100,000 guests.
func BenchmarkForget(b *testing.B) {
	js := natstest.New(b).JetStream()
	stream, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{events.Subjects{}.All()}, AllowAtomicPublish: true})
	if err != nil {
		b.Fatal(err)
	}
	const all = 1_000_000
	for i := range all {
		guest := i % 100_000
		e := told(fmt.Sprint(i/2), fmt.Sprint("guest-", guest), fmt.Sprintf("02:00:00:%02x:%02x:%02x", guest>>16, guest>>8&255, guest&255), "", int64(1+i%2))
		e.Data.Session.LocationID = fmt.Sprint("location-", i%300)
		body, err := events.Encode(e)
		if err == nil {
			_, err = js.PublishAsync(events.Subjects{}.Of(e), body)
		}
		if err != nil {
			b.Fatal(err)
		}
		if i%4000 == 0 {
			<-js.PublishAsyncComplete()
		}
	}
	<-js.PublishAsyncComplete()
	if info, err := stream.Info(b.Context()); err != nil || info.State.Msgs != all {
		b.Fatal(info, err)
	}
	places := []Place{{"S", events.Subjects{}.All(), Events}}
	n := 0
	for b.Loop() {
		n++
		began, cpu := time.Now(), cpuTime(b)
		f, err := Find(b.Context(), js, Query{Guests: []string{fmt.Sprint("guest-", n)}, Places: places, Widen: true})
		if err != nil || len(f.Messages) < 10 {
			b.Fatal(len(f.Messages), err)
		}
		found := time.Since(began)
		if _, err := Erase(b.Context(), js, f.Erasure()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(found.Seconds(), "s/find")
		b.ReportMetric((cpuTime(b) - cpu).Seconds(), "cpu-s/op")
		b.ReportMetric((time.Since(began) - found).Seconds(), "s/erase")
	}
}
