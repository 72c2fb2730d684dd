package main

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/alert"
	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
)

// TestALocationThatNeverHadAnEventIsSilent: guests are expected there by the platform's
// history, others have theirs, and nobody was ever seen.
func TestALocationThatNeverHadAnEventIsSilent(t *testing.T) {
	js := jetStreamAt(t, natsServer(t, server.Options{}))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		e := started("Phone")
		e.Time = time.Now().UTC()
		e.Data.Session.ID, e.Data.Session.LocationID, e.Data.Session.DeviceMAC = fmt.Sprint(i), fmt.Sprint("bar-", i%3), fmt.Sprint("device-", i)
		e.Data.Session.StartedAt, e.Data.Observed.At = e.Time, e.Time
		body, err := events.Encode(e.Sealed())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	web := occupancy.New(occupancy.Settings{
		Log: slog.New(slog.DiscardHandler), Days: func(occupancy.Place) ([7]float64, bool) { return [7]float64{9, 9, 9, 9, 9, 9, 9}, true },
		LookAge: func(occupancy.Place) (time.Duration, bool) { return time.Second, true },
		Watched: func() []occupancy.Watched {
			return []occupancy.Watched{{Place: occupancy.Place{Account: events.DefaultAccount, Location: "mute"}, Name: "Mute bar"}}
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- web.Run(ctx, js) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	judge := alert.NewJudge(alert.Rules{Stale: 5 * time.Minute, Rules: []alert.Rule{{Name: "silent", What: alerts.Silent, Figure: "online", Threshold: 5}}})
	eventually(t, func() string {
		now, list, ok := venues{web}.Venues()
		if !ok || len(list) != 4 {
			return fmt.Sprintf("the figures are %+v", list)
		}
		due := judge.Look(now, list)
		if len(due) != 1 || due[0].Kind != alerts.Raised || due[0].Data.Alert.LocationID != "mute" || due[0].Data.Alert.LocationName != "Mute bar" {
			t.Fatalf("due is %+v of %+v", due, list)
		}
		return ""
	})
}
