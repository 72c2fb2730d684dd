package occupancy

import (
	"context"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/journey"
)

// travel is a journey that ends with the occupancy service.
type travel struct {
	*journey.Journey
	t       *testing.T
	service *Service
	endOcc  func()
}

func newTravel(t *testing.T) *travel {
	t.Helper()
	j := &travel{Journey: journey.New(t, 5, 3, 20, epoch), t: t}
	j.startService()
	t.Cleanup(func() { j.endOcc() })
	return j
}

func (j *travel) startService() {
	j.t.Helper()
	settings := quickSettings()
	settings.WriteEvery, settings.CheckpointEvery = 50*time.Millisecond, 200*time.Millisecond
	j.service, j.endOcc = running(j.t, j.JS, settings)
}

// settle waits until all that was detected is published and counted, and returns
// the stream.
func (j *travel) settle() []events.Event {
	j.t.Helper()
	until(j.t, "the outbox is empty", func() bool { return j.Waiting() == 0 })
	until(j.t, "every event is counted", reaches(j.service, j.Last()))
	var all []events.Event
	ctx, cancel := context.WithCancel(j.t.Context())
	defer cancel()
	err := consume.Consumer{From: consume.FromStart()}.Run(ctx, j.JS, func(_ context.Context, d consume.Delivery) error {
		all = append(all, d.Event)
		if d.Pending == 0 {
			cancel()
		}
		return nil
	})
	if err != nil {
		j.t.Fatal(err)
	}
	return all
}
