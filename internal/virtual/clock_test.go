package virtual

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// Requests run at their time, beside each other and beside the caller's sleep.
func TestRequestsRunAtTheirTime(t *testing.T) {
	c := New(noon)
	var happened []string
	note := func(what string) { happened = append(happened, c.Now().Sub(noon).String()+" "+what) }
	request := func(name string, way, back time.Duration) func() {
		return func() {
			note(name + " goes")
			_ = c.Sleep(t.Context(), way)
			note(name + " is there")
			_ = c.Sleep(t.Context(), back)
			note(name + " is back")
		}
	}
	c.Go(request("slow", 2*time.Second, 3*time.Second))
	_ = c.Sleep(t.Context(), time.Second)
	c.Go(request("fast", 1500*time.Millisecond, time.Second))
	if err := c.Wait(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	note("one is told of")
	if err := c.Wait(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	note("none is")
	c.Finish()
	want := []string{
		"0s slow goes", "1s fast goes", "2s slow is there", "2.5s fast is there", "3.5s fast is back", "3.5s one is told of",
		"4.5s none is", "5s slow is back",
	}
	if !slices.Equal(happened, want) {
		t.Errorf("got  %q\nwant %q", happened, want)
	}
}

// A request that returns at once, or while nobody waits, is told of by the next
// Wait; a context that has ended is told of by all.
func TestWaitTellsOfEachRequest(t *testing.T) {
	c := New(noon)
	c.Go(func() {})
	c.Go(func() { _ = c.Sleep(t.Context(), time.Second) })
	_ = c.Sleep(t.Context(), time.Minute)
	for range 2 {
		if _ = c.Wait(t.Context(), time.Hour); !c.Now().Equal(noon.Add(time.Minute)) {
			t.Errorf("Wait let time pass until %v", c.Now())
		}
	}
	if _ = c.Wait(t.Context(), time.Hour); !c.Now().Equal(noon.Add(61 * time.Minute)) {
		t.Errorf("it is %v after an hour more", c.Now())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(c.Sleep(ctx, 0), c.Wait(ctx, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
