package events

import (
	"time"

	"pgregory.net/rapid"
)

// Generators of values that the contract allows, for the property tests.

func genText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.StringN(0, 12, -1),
		rapid.SampledFrom([]string{"pR3zOKmvzqe", `quo"te\`, "a.b*c>d e%", "\x00\n\u2028", "Café ☕"}))
}

func genName() *rapid.Generator[string] {
	return genText().Filter(func(s string) bool { return s != "" })
}

func genTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		seconds := rapid.Int64Range(0, 4_000_000_000).Draw(t, "seconds")
		nanos := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 999_999_999)).Draw(t, "nanos")
		return time.Unix(seconds, nanos).UTC()
	})
}

func genOptionalTime() *rapid.Generator[time.Time] {
	return rapid.OneOf(rapid.Just(time.Time{}), genTime())
}

func genSession() *rapid.Generator[Session] {
	return rapid.Custom(func(t *rapid.T) Session {
		s := Session{
			ID:              genName().Draw(t, "id"),
			StartedAt:       genOptionalTime().Draw(t, "started"),
			DurationSeconds: rapid.Int64Range(0, 1<<40).Draw(t, "duration"),
			Downloaded:      genBytes().Draw(t, "downloaded"),
			Uploaded:        genBytes().Draw(t, "uploaded"),
			Online:          true,
		}
		for _, a := range s.attributes() {
			*a = genText().Draw(t, "attribute")
		}
		s.LocationID = genName().Draw(t, "location")
		return s
	})
}

func genBytes() *rapid.Generator[Bytes] {
	return rapid.Custom(func(t *rapid.T) Bytes {
		return Bytes{rapid.Int64Range(0, 1<<50).Draw(t, "value"), rapid.Int64Range(0, 1<<40).Draw(t, "error")}
	})
}

// altered draws a session that may follow s as an update.
func altered(t *rapid.T, s Session) Session {
	next := genSession().Draw(t, "altered")
	next.ID = s.ID
	return next
}

// genEvent draws one event of any kind with everything that the kind demands.
func genEvent() *rapid.Generator[Event] {
	return rapid.Custom(func(t *rapid.T) Event {
		kind := rapid.SampledFrom(Kinds()).Draw(t, "kind")
		return eventOf(t, kind, genSession().Draw(t, "old"), rapid.Int64Range(0, 1000).Draw(t, "revision"), 0)
	})
}

// eventOf draws the event of the kind that follows old at the revision.
func eventOf(t *rapid.T, kind Kind, old Session, revision, episode int64) Event {
	e := Event{Account: genName().Draw(t, "account"), Kind: kind, Time: genTime().Draw(t, "time")}
	d := &e.Data
	d.Revision, d.Episode, d.Session = revision+1, episode, old
	switch kind {
	case Discovered, Started:
		d.Revision, d.Episode = 1, 0
	case Traffic:
		d.Session.Downloaded, d.Session.Uploaded = genBytes().Draw(t, "down"), genBytes().Draw(t, "up")
		d.Session.DurationSeconds += rapid.Int64Range(0, 1000).Draw(t, "seconds")
		if d.Session.Downloaded.Value == old.Downloaded.Value {
			d.Session.Downloaded.Value++
		}
	case Updated:
		d.Session = altered(t, old)
		if d.Session.AccessCode == old.AccessCode {
			d.Session.AccessCode += "x"
		}
	case Ended:
		d.Session.Online = false
		d.Session.EndedAt = genOptionalTime().Draw(t, "ended")
		d.Observed.End = rapid.SampledFrom([]End{EndReported, EndInferred}).Draw(t, "end")
		d.Observed.Proof = rapid.SampledFrom([]Proof{"", ProofRecord, ProofList, ProofAddress}).Draw(t, "proof")
	case Resumed:
		d.Episode++
	}
	if d.Revision > 1 {
		d.Previous = d.Session.Replaced(&old)
		if down, up := d.Session.Downloaded.Value-old.Downloaded.Value, d.Session.Uploaded.Value-old.Uploaded.Value; down != 0 || up != 0 {
			d.Change = &Change{DownloadedBytes: down, UploadedBytes: up, Reset: down < 0 || up < 0}
		}
	}
	d.Observed.At, d.Observed.NotYetAt = genTime().Draw(t, "at"), genOptionalTime().Draw(t, "not yet")
	if kind.Arrival() && rapid.Bool().Draw(t, "identified") {
		d.Guest = &Guest{Username: genText().Draw(t, "username"), Name: genName().Draw(t, "name"), Email: genText().Draw(t, "email")}
		d.Observed.Guest = rapid.SampledFrom([]Sureness{GuestConfirmed, GuestLikely}).Draw(t, "sure")
	}
	d.Observed.Backfilled = rapid.Bool().Draw(t, "backfilled")
	d.Observed.Rounding = Rounding{DownloadedBytes: d.Session.Downloaded.Error, UploadedBytes: d.Session.Uploaded.Error}
	return e.Sealed()
}
