package events

import "time"

// samples is the life of the session of the platform's documentation, with one
// event of each kind: what the golden files show.
func samples() []Event {
	at := func(h, m, s int) time.Time { return time.Date(2017, 1, 5, h, m, s, 0, time.UTC) }
	session := Session{
		ID: "pR3zOKmvzqe", LocationID: "oWNe6XWDPLM", LocationName: "IPERA",
		GuestID: "ajKeDq4582W", YasID: "8f627d10-1abc-44d8-b964-a7816388173a",
		DeviceMAC: "14:2d:27:e7:40:2b", DeviceIP: "172.31.98.114", DeviceDescription: "WebKit",
		LoginType: "Registration", ServiceProfile: "Default Service Profile - 60 Minute(s)",
		Online: true, StartedAt: at(6, 50, 55), DurationSeconds: 12,
		Downloaded: Bytes{10_250, 5}, Uploaded: Bytes{4_120, 5},
	}
	var all []Event
	add := func(kind Kind, happened, seen time.Time, change func(*Event, *Session)) {
		e := Event{Account: DefaultAccount, Kind: kind, Time: happened}
		d := &e.Data
		old := session
		if n := len(all); n > 0 {
			d.Episode = all[n-1].Data.Episode
		}
		d.Revision = int64(len(all) + 1)
		d.Observed.At, d.Observed.NotYetAt = seen, seen.Add(-20*time.Second)
		change(&e, &session)
		d.Session = session
		d.Observed.Rounding = Rounding{session.Downloaded.Error, session.Uploaded.Error}
		if len(all) > 0 {
			d.Previous = session.Replaced(&old)
			if down, up := session.Downloaded.Value-old.Downloaded.Value, session.Uploaded.Value-old.Uploaded.Value; down != 0 || up != 0 {
				d.Change = &Change{DownloadedBytes: down, UploadedBytes: up}
			}
		}
		all = append(all, e.Sealed())
	}
	add(Started, at(6, 50, 55), at(6, 51, 7).Add(250*time.Millisecond), func(e *Event, _ *Session) {
		e.Data.Guest = &Guest{Username: "C6D144DE", Name: "Ada Example", Email: "ada@example.com"}
		e.Data.Observed.Guest = GuestConfirmed
	})
	add(Traffic, at(6, 55, 7), at(6, 55, 7), func(_ *Event, s *Session) {
		s.Downloaded, s.Uploaded, s.DurationSeconds = Bytes{2_110_000, 5_000}, Bytes{512_300, 5}, 252
	})
	add(Updated, at(6, 56, 7), at(6, 56, 7), func(_ *Event, s *Session) { s.DeviceIP, s.AccessCode = "172.31.98.20", "café-7" })
	add(Ended, at(7, 0, 0), at(7, 0, 12), func(e *Event, s *Session) {
		s.Online, s.EndedAt, s.DurationSeconds = false, at(7, 0, 0), 545
		s.Downloaded, s.Uploaded = Bytes{3_340_000, 5_000}, Bytes{900_580, 5}
		e.Data.Observed.End, e.Data.Observed.Proof = EndReported, ProofRecord
	})
	add(Resumed, at(7, 3, 9), at(7, 3, 9), func(e *Event, s *Session) {
		s.Online, s.EndedAt = true, time.Time{}
		e.Data.Episode++
	})
	return all
}

// found is a session that was online when tracking began.
func found() Event {
	e := samples()[0]
	e.Kind = Discovered
	e.Data.Observed.NotYetAt = time.Time{}
	return e.Sealed()
}

// sample is the first of samples.
func sample() Event { return samples()[0] }
