package export

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/parquet-go/parquet-go"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/natstest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// streamOf is an empty stream of session events and of visits.
func streamOf(t testing.TB) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	js := natstest.New(t).JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{events.Subjects{}.All(), visits.Subjects{}.All()}})
	if err != nil {
		t.Fatal(err)
	}
	return js, stream
}

func publish(t *testing.T, js jetstream.JetStream, all ...events.Event) {
	t.Helper()
	for _, e := range all {
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
}

// change is an event of a session of a guest at a place.
func change(kind events.Kind, session, guest, location string, at time.Time) events.Event {
	e := events.Event{Account: "default", Kind: kind, Time: at, Data: events.Data{Revision: 1, Observed: events.Observed{At: at}}}
	e.Data.Session = events.Session{
		ID: session, GuestID: guest, LocationID: location, Online: kind != events.Ended, StartedAt: noon, DurationSeconds: 60,
		DeviceMAC: "aa:bb:cc:dd:ee:ff", DeviceIP: "10.0.0.1", AccessCode: "1234", LoginType: "Registration",
		Downloaded: events.Bytes{Value: 1000, Error: 5}, Uploaded: events.UnknownBytes,
	}
	if kind == events.Ended {
		e.Data.Observed.End, e.Data.Observed.Proof = events.EndReported, events.ProofRecord
	}
	return e.Sealed()
}

// lines are the records of a CSV table without its names.
func lines(t *testing.T, text string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all[1:]
}

// TestSessionsAreExported: what ended in the range, in both formats alike; a later run
// goes on behind the sequence of the first.
func TestSessionsAreExported(t *testing.T) {
	t.Parallel()
	js, stream := streamOf(t)
	publish(t, js,
		change(events.Started, "a", "g1", "bar", noon),
		change(events.Ended, "a", "g1", "bar", noon.Add(time.Hour)),
		change(events.Ended, "b", "g2", "spa", noon.Add(2*time.Hour)))
	if _, err := js.Publish(t.Context(), (events.Subjects{}).Filter("default", "bar", events.Ended), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	publish(t, js, change(events.Started, "c", "g3", "bar", noon.Add(3*time.Hour)))
	var out bytes.Buffer
	r := Request{Format: Parquet, Lateness: 5 * time.Minute}
	report, err := Sessions(t.Context(), stream, r, &out)
	want := Report{Table: "sessions", Rows: 2, CompleteUntil: noon.Add(3*time.Hour - 5*time.Minute), LastSequence: 4, Unreadable: 1}
	if err != nil || report != want {
		t.Fatalf("%+v, %v; want %+v", report, err, want)
	}
	rows, err := parquet.Read[Session](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil || len(rows) != 2 || rows[0].SessionID != "a" || rows[0].Sequence != 2 || *rows[0].DownloadedBytes != 1000 ||
		rows[0].UploadedBytes != nil || rows[0].EndedAt != noon.Add(time.Hour).UnixMicro() || rows[1].LocationID != "spa" {
		t.Fatalf("%+v, %v", rows, err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := file.Lookup("guestflow.complete_until"); !ok || at != "2026-03-01T14:55:00Z" {
		t.Errorf("the file's watermark is %q", at)
	}
	if last, _ := file.Lookup("guestflow.last_sequence"); last != "4" {
		t.Errorf("the file's last sequence is %q", last)
	}

	out.Reset()
	if _, err = Sessions(t.Context(), stream, Request{Format: CSV, Since: noon, Until: noon.Add(2 * time.Hour)}, &out); err != nil {
		t.Fatal(err)
	}
	got := lines(t, out.String())
	if len(got) != 1 || got[0][0] != "2" || !strings.HasPrefix(out.String(), "sequence,account,session_id,") ||
		!strings.Contains(out.String(), ",2026-03-01T12:00:00Z,2026-03-01T13:00:00Z,,reported,record,60,1000,,false\n") {
		t.Errorf("as CSV: %s", out.String())
	}

	publish(t, js, change(events.Ended, "c", "g3", "bar", noon.Add(4*time.Hour)))
	out.Reset()
	report, err = Sessions(t.Context(), stream, Request{Format: CSV, After: report.LastSequence}, &out)
	if got := lines(t, out.String()); err != nil || len(got) != 1 || got[0][2] != "c" || report.LastSequence != 6 {
		t.Errorf("going on: %v, %+v, %v", got, report, err)
	}
	out.Reset()
	if again, err := Sessions(t.Context(), stream, Request{Format: CSV, After: report.LastSequence}, &out); err != nil || again.Rows != 0 || again.LastSequence != 6 {
		t.Errorf("with nothing new: %+v, %v", again, err)
	}
	spa := func(account, location string) bool { return account == "default" && location == "spa" }
	if some, err := Sessions(t.Context(), stream, Request{Format: CSV, In: spa}, &out); err != nil || some.Rows != 1 || some.LastSequence != 6 {
		t.Errorf("of the spa: %+v, %v", some, err)
	}
	if some, err := Occupancy(t.Context(), stream, Request{Format: CSV, In: spa}, &out); err != nil || some.Rows == 0 || strings.Contains(out.String(), "bar") {
		t.Errorf("hours of the spa: %+v, %v, %s", some, err, out.String())
	}
}

// TestOccupancyIsCounted: against hours counted by hand, moves and late news included.
func TestOccupancyIsCounted(t *testing.T) {
	t.Parallel()
	js, stream := streamOf(t)
	hour := func(h, m int) time.Time { return noon.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute) }
	discovered := change(events.Discovered, "d", "g1", "bar", noon.Add(-3*time.Hour))
	discovered.Data.Observed.At = hour(0, 0)
	moved := change(events.Updated, "b", "g2", "spa", hour(1, 30))
	was := "bar"
	moved.Data.Previous = &events.Previous{LocationID: &was}
	publish(t, js, discovered,
		change(events.Started, "a", "g1", "bar", hour(0, 30)),
		change(events.Started, "b", "g2", "bar", hour(0, 45)),
		change(events.Ended, "a", "g1", "bar", hour(0, 45)), // told after b came
		moved.Sealed(),
		change(events.Ended, "b", "g2", "spa", hour(1, 45)),
		change(events.Ended, "d", "g1", "bar", hour(4, 0)),
		change(events.Started, "z", "g9", "gym", hour(5, 10)))
	var out bytes.Buffer
	report, err := Occupancy(t.Context(), stream, Request{Format: CSV}, &out)
	if err != nil || !report.CompleteUntil.Equal(hour(5, 0)) {
		t.Fatalf("%+v, %v", report, err)
	}
	var got []string
	for _, l := range lines(t, out.String()) {
		got = append(got, strings.Join(append(l[1:2], l[3:]...), " "))
	}
	want := []string{ // arrivals, departures, peak, mean, sessions, guests
		"bar 2026-03-01T12:00:00Z 2 1 2 1.5 3 2",
		"bar 2026-03-01T13:00:00Z 0 0 2 1.5 2 2",
		"bar 2026-03-01T14:00:00Z 0 0 1 1 1 1",
		"bar 2026-03-01T15:00:00Z 0 0 1 1 1 1",
		"bar 2026-03-01T16:00:00Z 0 1 0 0 1 1",
		"spa 2026-03-01T13:00:00Z 0 1 1 0.25 1 1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	out.Reset()
	report, err = Occupancy(t.Context(), stream, Request{Format: CSV, K: 2, Since: hour(1, 0), Until: hour(2, 0)}, &out)
	if got := lines(t, out.String()); err != nil || len(got) != 1 || got[0][1] != "bar" || report.LeftOut != 1 {
		t.Errorf("of two guests or more in one hour: %v, %+v, %v", got, report, err)
	}
}

// TestAnonymousRowsStandForEnough: no row is of fewer than k people, by whatever they
// differ; nothing that identifies is left; and what is left out is counted.
func TestAnonymousRowsStandForEnough(t *testing.T) {
	t.Parallel()
	js, stream := streamOf(t)
	total := 0
	for i := range 9 { // nine guests in one hour at the bar, one of them with another login
		e := change(events.Ended, fmt.Sprintf("s%d", i), fmt.Sprintf("guest-%d", i), "bar", noon.Add(time.Duration(i)*time.Minute))
		if i == 0 {
			e.Data.Session.LoginType = "Access Code"
		}
		publish(t, js, e.Sealed())
		total++
	}
	for i := range 20 { // one guest, many times
		publish(t, js, change(events.Ended, fmt.Sprintf("t%d", i), "guest-x", "spa", noon))
		total++
	}
	for i := range 4 { // one an hour
		publish(t, js, change(events.Ended, fmt.Sprintf("u%d", i), fmt.Sprintf("guest-u%d", i), "gym", noon.Add(time.Duration(i)*time.Hour)))
		total++
	}
	for _, k := range []int{2, 3, 4, 5, 8, 9, 10, 15} {
		var out bytes.Buffer
		report, err := Sessions(t.Context(), stream, Request{Format: Parquet, K: k}, &out)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := parquet.Read[Anonymous](bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatal(err)
		}
		count := report.LeftOut
		seen := map[string]bool{}
		for _, r := range rows {
			count += r.Count
			if r.People < int64(k) {
				t.Errorf("k %d: a row stands for %d people: %+v", k, r.People, r)
			}
			of := fmt.Sprint(r.Account, r.LocationID, r.From, r.Span, r.LoginType, r.ServiceProfile)
			if seen[of] {
				t.Errorf("k %d: two rows are alike: %+v", k, r)
			}
			seen[of] = true
			if r.MeanUploaded != nil || r.MeanDownloaded == nil || *r.MeanDownloaded != 1000 {
				t.Errorf("k %d: figures %+v", k, r)
			}
		}
		if count != int64(total) {
			t.Errorf("k %d: %d of %d sessions are accounted for", k, count, total)
		}
		if k == 4 && (len(rows) != 2 || rows[0].Span != "day" || rows[1].Count != 8 || report.LeftOut != 21) {
			t.Errorf("k 4: %+v, %d left out", rows, report.LeftOut)
		}
		for _, secret := range []string{"guest-", "s1", "aa:bb", "10.0.0.1", "1234"} {
			if bytes.Contains(out.Bytes(), []byte(secret)) {
				t.Errorf("k %d: the file holds %s", k, secret)
			}
		}
	}
}

// TestVisitsAreExported: those that are over, with a watermark that leaves room for the
// gap.
func TestVisitsAreExported(t *testing.T) {
	t.Parallel()
	js, stream := streamOf(t)
	e := visits.Event{Account: "default", Kind: visits.Ended, Time: noon, Data: visits.Data{Revision: 2, Observed: visits.Observed{At: noon.Add(40 * time.Minute)}}}
	e.Data.Visit = visits.Visit{
		ID: "v1", Place: "mall", Group: "mall", LocationID: "m2", Locations: []string{"m1", "m2"}, Identity: visits.ByGuest, GuestID: "g1", Arrival: visits.Seen,
		StartedAt: noon.Add(-time.Hour), EndedAt: noon, DurationSeconds: 3600, Devices: 1, Sessions: 2, DownloadedBytes: 5,
	}
	e.Data.Observed.End = events.EndReported
	body, err := visits.Encode(e.Sealed())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), visits.Subjects{}.Of(e), body); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	report, err := Visits(t.Context(), stream, Request{Format: CSV, Gap: 30 * time.Minute, Lateness: 5 * time.Minute}, &out)
	got := lines(t, out.String())
	if err != nil || !report.CompleteUntil.Equal(noon.Add(5*time.Minute)) || len(got) != 1 || strings.Join(got[0][:9], ",") != "1,default,v1,mall,mall,m2,,m1 m2,guest" {
		t.Errorf("%v, %+v, %v", got, report, err)
	}
	out.Reset()
	for location, rows := range map[string]int64{"m1": 1, "m2": 1, "mall": 0, "m3": 0} {
		in := func(account, l string) bool { return account == "default" && l == location }
		if report, err := Visits(t.Context(), stream, Request{Format: CSV, In: in}, &out); err != nil || report.Rows != rows {
			t.Errorf("of %s: %+v, %v", location, report, err)
		}
	}
	out.Reset()
	if report, err := Visits(t.Context(), stream, Request{Format: CSV, K: 2}, &out); err != nil || report.Rows != 0 || report.LeftOut != 1 {
		t.Errorf("of two people or more: %+v, %v", report, err)
	}
}

// TestWatermarkIsOfEveryAccount: an account whose newest messages are no events holds the
// watermark back as it did before them. One of which nothing else is known has none.
func TestWatermarkIsOfEveryAccount(t *testing.T) {
	t.Parallel()
	js, stream := streamOf(t)
	late := change(events.Started, "a", "g1", "bar", noon)
	late.Account = "late"
	publish(t, js, late)
	for range 100 {
		for _, account := range []string{"late", "nobody"} {
			if _, err := js.Publish(t.Context(), (events.Subjects{}).Filter(account, "bar", events.Ended), []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(t, js, change(events.Started, "b", "g2", "bar", noon.Add(time.Hour)))
	var out bytes.Buffer
	report, err := Sessions(t.Context(), stream, Request{Format: CSV}, &out)
	if err != nil || !report.CompleteUntil.Equal(noon) {
		t.Errorf("complete until %v, %v; want %v", report.CompleteUntil, err, noon)
	}
}
