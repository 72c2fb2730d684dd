package export

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/visits"
)

// Visit is a row of the table of visits.
type Visit struct {
	Sequence        int64  `parquet:"sequence"` // in the stream of visits
	Account         string `parquet:"account,dict"`
	VisitID         string `parquet:"visit_id"`
	Place           string `parquet:"place,dict"`
	Group           string `parquet:"group,dict,optional"`
	LocationID      string `parquet:"location_id,dict"`
	LocationName    string `parquet:"location_name,dict,optional"`
	Locations       string `parquet:"locations,dict"` // separated by spaces
	Identity        string `parquet:"identity,dict"`
	GuestID         string `parquet:"guest_id,optional"`
	DeviceMAC       string `parquet:"device_mac,optional"`
	Number          int64  `parquet:"number,optional"`
	First           string `parquet:"first,dict,optional"`
	DaysSinceLast   *int64 `parquet:"days_since_last,optional"`
	Arrival         string `parquet:"arrival,dict"`
	StartedAt       int64  `parquet:"started_at,timestamp(microsecond)"`
	EndedAt         int64  `parquet:"ended_at,timestamp(microsecond)"`
	EndedAfter      int64  `parquet:"ended_after,timestamp(microsecond),optional"`
	End             string `parquet:"end,dict,optional"`
	DurationSeconds int64  `parquet:"duration_seconds"`
	Sessions        int64  `parquet:"sessions"`
	Devices         int64  `parquet:"devices"`
	DownloadedBytes int64  `parquet:"downloaded_bytes"`
	UploadedBytes   int64  `parquet:"uploaded_bytes"`
}

func visitRow(sequence uint64, e *visits.Event) Visit {
	v, o := &e.Data.Visit, &e.Data.Observed
	return Visit{
		Sequence: int64(sequence), Account: e.Account, VisitID: v.ID, Place: v.Place, Group: v.Group, LocationID: v.LocationID, LocationName: v.LocationName,
		Locations: strings.Join(v.Locations, " "), Identity: string(v.Identity), GuestID: v.GuestID, DeviceMAC: v.DeviceMAC, Arrival: string(v.Arrival),
		Number: v.Number, First: string(v.First), DaysSinceLast: v.DaysSinceLast,
		StartedAt: micros(v.StartedAt), EndedAt: micros(v.EndedAt), EndedAfter: micros(o.NotYetAt), End: string(o.End), DurationSeconds: v.DurationSeconds,
		Sessions: v.Sessions, Devices: v.Devices, DownloadedBytes: v.DownloadedBytes, UploadedBytes: v.UploadedBytes,
	}
}

// Visits writes the visits that are over, from the stream of visits.
func Visits(ctx context.Context, stream jetstream.Stream, r Request, out io.Writer) (Report, error) {
	report := Report{Table: "visits", After: r.After}
	at, err := watermark(ctx, stream, []string{r.Visits.Filter(r.Account, "", "")},
		func(subject string) (string, error) { name, _, _, err := r.Visits.Parse(subject); return name, err },
		func(account string) string { return r.Visits.Filter(account, "", "") },
		func(body []byte) (time.Time, error) {
			e, err := visits.Decode(body)
			return e.Data.Observed.At, err
		})
	if err != nil {
		return report, err
	}
	if !at.IsZero() { // An end is told when the gap and the lateness are over.
		report.CompleteUntil = at.Add(-r.Gap - r.Lateness).UTC()
	}
	type found struct {
		Visit
		chosen bool
	}
	rows := func(take func([]Visit) error) error {
		last, bad, err := read(ctx, stream, r.from(), []string{r.Visits.Filter(r.Account, r.Location, visits.Ended)},
			func(m jetstream.Msg, meta *jetstream.MsgMetadata) (found, bool) {
				e, err := visits.Decode(m.Data())
				if err != nil {
					return found{}, false
				}
				v := &e.Data.Visit
				chosen := r.within(v.EndedAt) && r.in(e.Account, append(v.Locations, v.LocationID)...)
				return found{visitRow(meta.Sequence.Stream, &e), chosen}, true
			}, func(rows []found) error {
				kept := make([]Visit, 0, len(rows))
				for i := range rows {
					if rows[i].chosen {
						kept = append(kept, rows[i].Visit)
					}
				}
				return take(kept)
			})
		report.Unreadable, report.LastSequence = bad, max(r.After, last)
		return err
	}
	if r.K > 1 {
		report.K = r.K
		classes := newClasses()
		if err := rows(func(rows []Visit) error { classes.visits(rows); return nil }); err != nil {
			return report, err
		}
		return report, classes.written(out, r, &report)
	}
	return report, written(out, r.Format, &report, rows)
}
