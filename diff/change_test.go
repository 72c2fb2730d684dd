package diff_test

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

// silent is a record without text, start, duration and figures.
func silent(s *events.Session) {
	*s = events.Session{
		ID: s.ID, LocationID: s.LocationID, Online: s.Online,
		Downloaded: events.UnknownBytes, Uploaded: events.UnknownBytes, DurationSeconds: events.UnknownSeconds,
	}
}

func TestChangeIsTold(t *testing.T) {
	tests := []struct {
		name    string
		minimum int64
		// One session as a row of atomic lists shows it, and what each of them
		// tells after the first.
		shown []events.Session
		want  []string
	}{
		{
			"no change, no event", 0,
			[]events.Session{session("a"), session("a"), session("a", func(s *events.Session) { s.DurationSeconds = 3600 })},
			[]string{"", ""},
		},
		{
			"without a threshold each byte counts", 0,
			[]events.Session{session("a"), session("a", down(1001, 0)), session("a", down(1001, 0), up(501, 0))},
			[]string{"traffic a +1/+0", "traffic a +0/+1"},
		},
		{
			"the threshold is reached, not passed", 100,
			[]events.Session{session("a"), session("a", down(1099, 0), up(599, 0)), session("a", down(1100, 0))},
			[]string{"", "traffic a +100/+0"},
		},
		{
			"the threshold counts from the published figure", 100,
			[]events.Session{session("a"), session("a", down(1060, 0)), session("a", down(1120, 0)), session("a", down(1180, 0)), session("a", down(1220, 0))},
			[]string{"", "traffic a +120/+0", "", "traffic a +100/+0"},
		},
		{
			"a figure worth telling takes the other one along", 100,
			[]events.Session{session("a"), session("a", down(1007, 0), up(600, 0))},
			[]string{"traffic a +7/+100"},
		},
		{
			"a counter that starts anew", 0,
			[]events.Session{session("a"), session("a", down(10, 2), up(700, 0)), session("a", down(30, 2), up(700, 0))},
			[]string{"traffic a -990/+200 reset", "traffic a +20/+0"},
		},
		{
			"a counter that falls by less than the threshold", 100,
			[]events.Session{session("a"), session("a", down(950, 0)), session("a", down(900, 0))},
			[]string{"", "traffic a -100/+0 reset"},
		},
		{
			"a counter that falls within the rounding of both figures", 0,
			[]events.Session{session("a", down(1000, 5)), session("a", down(988, 7)), session("a", down(987, 7)), session("a", down(999, 5))},
			[]string{"", "traffic a -13/+0 reset", "traffic a +12/+0"},
		},
		{
			"a falling figure within rounding beside a rising one", 0,
			[]events.Session{session("a", down(1000, 5)), session("a", down(995, 5), up(600, 0))},
			[]string{"traffic a +0/+100"},
		},
		{
			"another attribute", 1 << 40,
			[]events.Session{session("a"), session("a", ip("10.0.0.2")), session("a", ip("10.0.0.2"))},
			[]string{`updated a {"device_ip":"10.0.0.1"}`, ""},
		},
		{
			"an attribute that was empty", 0,
			[]events.Session{session("a", ip("")), session("a", ip("10.0.0.2"))},
			[]string{`updated a {"device_ip":""}`},
		},
		{
			"another start", 0,
			[]events.Session{session("a"), session("a", startedAt(noon.Add(-time.Minute)))},
			[]string{`updated a {"started_at":"2026-03-01T11:00:00Z"}`},
		},
		{
			"the same start in another zone", 0,
			[]events.Session{session("a"), session("a", startedAt(noon.Add(-time.Hour).In(time.FixedZone("", 3600))))},
			[]string{""},
		},
		{
			"attributes first, then traffic", 0,
			[]events.Session{session("a"), session("a", ip("10.0.0.2"), down(1500, 0))},
			[]string{`updated a {"device_ip":"10.0.0.1"}, traffic a +500/+0`},
		},
		{
			"an attribute beside traffic below the threshold", 1000,
			[]events.Session{session("a"), session("a", ip("10.0.0.2"), down(1500, 0)), session("a", ip("10.0.0.2"), down(2000, 0))},
			[]string{`updated a {"device_ip":"10.0.0.1"}`, "traffic a +1000/+0"},
		},
		{
			"a silent record is no news", 0,
			[]events.Session{session("a"), session("a", silent), session("a")},
			[]string{"", ""},
		},
		{
			"one unknown figure beside a known one", 0,
			[]events.Session{session("a"), session("a", up(0, -1), down(1500, 0))},
			[]string{"traffic a +500/+0"},
		},
		{
			"a first record without figures", 0,
			[]events.Session{session("a", silent), session("a", silent, down(70, 0), up(0, 0))},
			[]string{"traffic a +70/+0"},
		},
		{
			"an end time of a session that is online", 0,
			[]events.Session{
				session("a", func(s *events.Session) { s.EndedAt = minute(-1) }),
				session("a", func(s *events.Session) { s.EndedAt = minute(9) }, down(1500, 0)),
			},
			[]string{"traffic a +500/+0"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{TrafficMinBytes: tt.minimum})
			for i, s := range tt.shown {
				want := "discovered a"
				if i > 0 {
					want = tt.want[i-1]
				}
				if got := told(l.look(t, "hall", list(i, s))); got != want {
					t.Fatalf("look %d tells %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestUpdateLeavesFiguresToTraffic(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, session("a")))
	longer := func(s *events.Session) { s.DurationSeconds = 120 }
	d := l.look(t, "hall", list(1, session("a", ip("10.0.0.2"), down(1500, 3), up(600, 4), longer)))
	if len(d) != 2 {
		t.Fatalf("told %q", told(d))
	}
	if got, want := d[0].Data.Session, session("a", ip("10.0.0.2")); got != want {
		t.Errorf("after updated\n%+v, want the figures of before\n%+v", got, want)
	}
	traffic := d[1]
	if got, want := traffic.Data.Session, session("a", ip("10.0.0.2"), down(1500, 3), up(600, 4), longer); got != want {
		t.Errorf("after traffic\n%+v, want\n%+v", got, want)
	}
	p := traffic.Data.Previous
	if p == nil || p.DownloadedBytes == nil || *p.DownloadedBytes != 1000 || *p.UploadedBytes != 500 || *p.DurationSeconds != 60 {
		t.Errorf("traffic names the old figures %+v", p)
	}
}

func TestSilentRecordKeepsWhatIsKnown(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, session("a")))
	d := l.look(t, "hall", list(1, session("a", silent, offline(minute(1)))))
	if got, want := told(d), "ended a reported"; got != want {
		t.Fatalf("told %q, want %q", got, want)
	}
	if got, want := d[0].Data.Session, session("a", offline(minute(1))); got != want {
		t.Errorf("after the end\n%+v, want\n%+v", got, want)
	}
}

func TestLastRecordOfAnIdCounts(t *testing.T) {
	a := session("a")
	tests := []struct {
		name   string
		before []events.Session
		shown  []events.Session
		want   string
	}{
		{"known", []events.Session{a},
			[]events.Session{session("a", down(1100, 0)), session("a", down(1300, 0))}, "traffic a +300/+0"},
		{"known, a change that did not last", []events.Session{a},
			[]events.Session{session("a", ip("10.0.0.2")), a}, ""},
		{"known, in between others", []events.Session{a},
			[]events.Session{session("a", ip("10.0.0.2")), session("b"), a}, "discovered b"},
		{"unknown", nil,
			[]events.Session{session("a", ip("10.0.0.2")), a, session("b"), a}, "discovered b, discovered a"},
		{"offline, then online", []events.Session{a}, []events.Session{session("a", offline(minute(1))), a}, ""},
		{"online, then offline", []events.Session{a}, []events.Session{a, session("a", offline(minute(1)))}, "ended a reported"},
		{"unknown, online, then offline", nil, []events.Session{a, session("a", offline(minute(1)))}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{})
			l.look(t, "hall", list(0, tt.before...))
			if got := told(l.look(t, "hall", list(1, tt.shown...))); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// TestUnknownFiguresStayUnknown to the end, where no record ever had any.
func TestUnknownFiguresStayUnknown(t *testing.T) {
	for name, history := range map[string]bool{"seen online": false, "backfilled": true} {
		l := newLedger(diff.Rules{})
		l.look(t, "hall", list(0, session("b")))
		begun := startedAt(minute(1))
		if !history {
			l.look(t, "hall", list(1, session("b"), session("a", silent, begun)))
		}
		snap := list(2, session("b"), session("a", silent, begun, offline(minute(2))))
		snap.History = history
		d := l.look(t, "hall", snap)
		if len(d) == 0 {
			t.Fatalf("%s: nothing told", name)
		}
		for _, e := range d {
			s := e.Data.Session
			if s.Downloaded.Known() || s.Uploaded.Known() || s.DurationSeconds != events.UnknownSeconds {
				t.Errorf("%s: %s says %+v", name, e.Kind, s)
			}
		}
	}
}
