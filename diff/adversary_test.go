package diff_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

// Whatever valid records a platform sends, in whatever order, from clocks that
// run back and forth: every event follows its state, says truthfully what it
// replaced and comes back from its wire form. The ledger checks that.
func TestAnyRecordsGiveSoundEvents(t *testing.T) {
	names := []string{"a", "A", "a.b", "*", ">", "%", "%61", " ", "\n", `"\`, "ünï☕", "\u2028", "null"}
	text := rapid.OneOf(rapid.Just(""), rapid.SampledFrom(names), rapid.String())
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return rapid.OneOf(
			rapid.Just(time.Time{}),
			rapid.Map(rapid.Int64Range(-1e9, 4e9), func(s int64) time.Time { return time.Unix(s, 0).UTC() }),
			rapid.Map(rapid.Int64Range(0, 3600e9), func(ns int64) time.Time { return noon.Add(time.Duration(ns)) }),
		).Draw(t, "time")
	})
	figure := rapid.OneOf(
		rapid.Just(events.UnknownBytes),
		rapid.Custom(func(t *rapid.T) events.Bytes {
			amount := rapid.OneOf(rapid.Int64Range(0, 1000), rapid.Int64Range(0, math.MaxInt64))
			return events.Bytes{Value: amount.Draw(t, "value"), Error: amount.Draw(t, "error")}
		}),
	)
	record := rapid.Custom(func(t *rapid.T) events.Session {
		return events.Session{
			ID:                rapid.SampledFrom(names).Draw(t, "id"),
			LocationID:        rapid.SampledFrom(names).Draw(t, "location"),
			LocationName:      text.Draw(t, "name"),
			GuestID:           text.Draw(t, "guest"),
			YasID:             text.Draw(t, "yas"),
			DeviceMAC:         text.Draw(t, "mac"),
			DeviceIP:          text.Draw(t, "ip"),
			DeviceDescription: text.Draw(t, "device"),
			AccessCode:        text.Draw(t, "code"),
			LoginType:         text.Draw(t, "login"),
			ServiceProfile:    text.Draw(t, "profile"),
			Online:            rapid.Bool().Draw(t, "online"),
			StartedAt:         when.Draw(t, "started"),
			EndedAt:           when.Draw(t, "ended"),
			DurationSeconds:   rapid.Int64Range(0, math.MaxInt64).Draw(t, "duration"),
			Downloaded:        figure.Draw(t, "down"),
			Uploaded:          figure.Draw(t, "up"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(diff.Rules{
			TrafficMinBytes: rapid.Int64Range(-1, math.MaxInt64).Draw(t, "threshold"),
		})
		for range rapid.IntRange(1, 8).Draw(t, "looks") {
			from := noon.Add(time.Duration(rapid.Int64Range(-3600e9, 3600e9).Draw(t, "from")))
			snap := diff.Snapshot{
				Sessions: rapid.SliceOfN(record, 0, 10).Draw(t, "records"),
				From:     from,
				At:       from.Add(time.Duration(rapid.Int64Range(0, 60e9).Draw(t, "took"))),
				Presumed: rapid.Bool().Draw(t, "presumed"),
				History:  rapid.Bool().Draw(t, "history"),
			}
			look{rapid.SampledFrom(names).Draw(t, "list of"), rapid.Bool().Draw(t, "whole"), snap}.at(t, l)
		}
	})
}
