package export

import (
	"context"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// Session is a row of the table of sessions: an ended event. A session that came back
// has another row, with a higher episode, when it ends again.
type Session struct {
	Sequence          int64  `parquet:"sequence"`
	Account           string `parquet:"account,dict"`
	SessionID         string `parquet:"session_id"`
	Episode           int64  `parquet:"episode"`
	LocationID        string `parquet:"location_id,dict"`
	LocationName      string `parquet:"location_name,dict,optional"`
	GuestID           string `parquet:"guest_id,optional"`
	YasID             string `parquet:"yas_id,optional"`
	DeviceMAC         string `parquet:"device_mac,optional"`
	DeviceIP          string `parquet:"device_ip,optional"`
	DeviceDescription string `parquet:"device_description,dict,optional"`
	AccessCode        string `parquet:"access_code,dict,optional"`
	LoginType         string `parquet:"login_type,dict,optional"`
	ServiceProfile    string `parquet:"service_profile,dict,optional"`
	StartedAt         int64  `parquet:"started_at,timestamp(microsecond),optional"`
	EndedAt           int64  `parquet:"ended_at,timestamp(microsecond)"`
	// EndedAfter is the latest time at which the session had not ended yet.
	EndedAfter      int64  `parquet:"ended_after,timestamp(microsecond),optional"`
	End             string `parquet:"end,dict"`
	Proof           string `parquet:"proof,dict,optional"`
	DurationSeconds *int64 `parquet:"duration_seconds"`
	DownloadedBytes *int64 `parquet:"downloaded_bytes"`
	UploadedBytes   *int64 `parquet:"uploaded_bytes"`
	Backfilled      bool   `parquet:"backfilled"`
}

func sessionRow(sequence uint64, e *events.Event) Session {
	s, o := &e.Data.Session, &e.Data.Observed
	row := Session{
		Sequence: int64(sequence), Account: e.Account, SessionID: s.ID, Episode: e.Data.Episode, LocationID: s.LocationID, LocationName: s.LocationName,
		GuestID: s.GuestID, YasID: s.YasID, DeviceMAC: s.DeviceMAC, DeviceIP: s.DeviceIP, DeviceDescription: s.DeviceDescription,
		AccessCode: s.AccessCode, LoginType: s.LoginType, ServiceProfile: s.ServiceProfile,
		StartedAt: micros(s.StartedAt), EndedAt: micros(e.Time), EndedAfter: micros(o.NotYetAt), End: string(o.End), Proof: string(o.Proof), Backfilled: o.Backfilled,
	}
	figures := &[3]int64{s.DurationSeconds, s.Downloaded.Value, s.Uploaded.Value} // one allocation for all
	if s.DurationSeconds != events.UnknownSeconds {
		row.DurationSeconds = &figures[0]
	}
	if s.Downloaded.Known() {
		row.DownloadedBytes = &figures[1]
	}
	if s.Uploaded.Known() {
		row.UploadedBytes = &figures[2]
	}
	return row
}

// Sessions writes the sessions that are over.
func Sessions(ctx context.Context, stream jetstream.Stream, r Request, out io.Writer) (Report, error) {
	report := Report{Table: "sessions", After: r.After}
	var err error
	if report.CompleteUntil, err = r.completeUntil(ctx, stream); err != nil {
		return report, err
	}
	rows := func(take func([]Session) error) error {
		last, bad, err := read(ctx, stream, r.from(), []string{r.Sessions.Filter(r.Account, r.Location, events.Ended)},
			func(m jetstream.Msg, meta *jetstream.MsgMetadata) (Session, bool) {
				e, err := events.Decode(m.Data())
				if err != nil {
					return Session{}, false
				}
				return sessionRow(meta.Sequence.Stream, &e), true
			}, func(rows []Session) error { return take(r.chosen(rows)) })
		report.Unreadable, report.LastSequence = bad, max(r.After, last)
		return err
	}
	if r.K > 1 {
		report.K = r.K
		classes := newClasses()
		if err := rows(func(rows []Session) error { classes.sessions(rows); return nil }); err != nil {
			return report, err
		}
		return report, classes.written(out, r, &report)
	}
	return report, written(out, r.Format, &report, rows)
}

// chosen leaves out what ended outside of the range, and other locations.
func (r *Request) chosen(rows []Session) []Session {
	if r.Since.IsZero() && r.Until.IsZero() && r.In == nil {
		return rows
	}
	from, to := micros(r.Since), micros(r.Until)
	kept := rows[:0]
	for i := range rows {
		at := rows[i].EndedAt
		if (r.Since.IsZero() || at >= from) && (to == 0 || at < to) && r.in(rows[i].Account, rows[i].LocationID) {
			kept = append(kept, rows[i])
		}
	}
	return kept
}
