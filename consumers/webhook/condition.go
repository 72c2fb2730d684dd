package webhook

import (
	"errors"
	"fmt"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/group"
)

// condition is a compiled boolean expression over one event. It has no access
// to the clock, so that a retry decides as the first try did.
type condition struct {
	program *vm.Program
	groups  *group.Tree // nil where it does not mention them
}

// condition checks the names and types of source. The error names the column, counted
// from 1.
func (t *topic) condition(source string, groups *group.Tree) (*condition, error) {
	program, err := expr.Compile(source, expr.Env(t.env), expr.AsBool(), expr.WarnOnAny(), expr.DisableBuiltin("now"))
	if err == nil {
		return &condition{program, mentioned(source, groups)}, nil
	}
	return nil, t.whatIsWrong(err, "compare something, for instance session.duration_seconds >= 600")
}

// whatIsWrong is a compiler's error for people.
func (t *topic) whatIsWrong(err error, remedy string) error {
	var at *file.Error
	if errors.As(err, &at) {
		where := fmt.Sprintf("column %d", at.Column+1)
		if at.Line > 1 {
			where = fmt.Sprintf("line %d, %s", at.Line, where)
		}
		return fmt.Errorf("%s: %s", where, t.inWords(at.Message))
	}
	return fmt.Errorf("column 1: %s; %s", t.inWords(err.Error()), remedy)
}

// bareOfSnippet is the error of an evaluation on one line.
func bareOfSnippet(err error) error {
	var at *file.Error
	if errors.As(err, &at) {
		return fmt.Errorf("column %d: %s", at.Column+1, at.Message)
	}
	return err
}

// match evaluates the condition. An error means that the expression fails on
// this event, for instance since it does arithmetic on a value that is absent.
func (c *condition) match(n notice) (bool, error) {
	if c == nil {
		return true, nil
	}
	out, err := vm.Run(c.program, n.topic.facts(n.of, n.groups(c.groups)))
	if err != nil {
		return false, bareOfSnippet(err)
	}
	return out == true, nil
}

// facts is what a condition sees of a session event: it under its JSON names. Objects that
// an event leaves out are there all the same: a change of zero, a guest whose
// fields are all empty, and a previous whose fields are all nil.
type facts struct {
	ID       string        `expr:"id"`
	Account  string        `expr:"account"`
	Kind     string        `expr:"kind"`
	Time     time.Time     `expr:"time"`
	Groups   []string      `expr:"groups"`
	Revision int64         `expr:"revision"`
	Episode  int64         `expr:"episode"`
	Session  sessionFacts  `expr:"session"`
	Guest    guestFacts    `expr:"guest"`
	Previous previousFacts `expr:"previous"`
	Change   changeFacts   `expr:"change"`
	Observed observedFacts `expr:"observed"`
}

type sessionFacts struct {
	ID                string    `expr:"id"`
	LocationID        string    `expr:"location_id"`
	LocationName      string    `expr:"location_name"`
	GuestID           string    `expr:"guest_id"`
	YasID             string    `expr:"yas_id"`
	DeviceMAC         string    `expr:"device_mac"`
	DeviceIP          string    `expr:"device_ip"`
	DeviceDescription string    `expr:"device_description"`
	AccessCode        string    `expr:"access_code"`
	LoginType         string    `expr:"login_type"`
	ServiceProfile    string    `expr:"service_profile"`
	Online            bool      `expr:"online"`
	StartedAt         time.Time `expr:"started_at"`
	EndedAt           time.Time `expr:"ended_at"`
	DurationSeconds   int64     `expr:"duration_seconds"`
	DownloadedBytes   int64     `expr:"downloaded_bytes"`
	UploadedBytes     int64     `expr:"uploaded_bytes"`
}

type guestFacts struct {
	Username string `expr:"username"`
	Name     string `expr:"name"`
	Email    string `expr:"email"`
}

type previousFacts struct {
	LocationID        *string    `expr:"location_id"`
	LocationName      *string    `expr:"location_name"`
	GuestID           *string    `expr:"guest_id"`
	YasID             *string    `expr:"yas_id"`
	DeviceMAC         *string    `expr:"device_mac"`
	DeviceIP          *string    `expr:"device_ip"`
	DeviceDescription *string    `expr:"device_description"`
	AccessCode        *string    `expr:"access_code"`
	LoginType         *string    `expr:"login_type"`
	ServiceProfile    *string    `expr:"service_profile"`
	StartedAt         *time.Time `expr:"started_at"`
	DurationSeconds   *int64     `expr:"duration_seconds"`
	DownloadedBytes   *int64     `expr:"downloaded_bytes"`
	UploadedBytes     *int64     `expr:"uploaded_bytes"`
}

type changeFacts struct {
	DownloadedBytes int64 `expr:"downloaded_bytes"`
	UploadedBytes   int64 `expr:"uploaded_bytes"`
	Reset           bool  `expr:"reset"`
}

type observedFacts struct {
	At         time.Time    `expr:"at"`
	NotYetAt   time.Time    `expr:"not_yet_at"`
	End        string       `expr:"end"`
	Proof      string       `expr:"proof"`
	Rounding   roundingFact `expr:"rounding"`
	Backfilled bool         `expr:"backfilled"`
	Guest      string       `expr:"guest"`
}

type roundingFact struct {
	DownloadedBytes int64 `expr:"downloaded_bytes"`
	UploadedBytes   int64 `expr:"uploaded_bytes"`
}

func factsOf(e *events.Event, groups []string) facts {
	s, o := &e.Data.Session, &e.Data.Observed
	f := facts{
		ID: e.ID, Account: e.Account, Kind: string(e.Kind), Time: e.Time, Groups: groups,
		Revision: e.Data.Revision, Episode: e.Data.Episode,
		Session: sessionFacts{
			ID: s.ID, LocationID: s.LocationID, LocationName: s.LocationName, GuestID: s.GuestID,
			YasID: s.YasID, DeviceMAC: s.DeviceMAC, DeviceIP: s.DeviceIP,
			DeviceDescription: s.DeviceDescription, AccessCode: s.AccessCode, LoginType: s.LoginType,
			ServiceProfile: s.ServiceProfile, Online: s.Online, StartedAt: s.StartedAt, EndedAt: s.EndedAt,
			DurationSeconds: max(0, s.DurationSeconds), DownloadedBytes: s.Downloaded.Value, UploadedBytes: s.Uploaded.Value,
		},
		Observed: observedFacts{
			At: o.At, NotYetAt: o.NotYetAt, End: string(o.End), Proof: string(o.Proof), Backfilled: o.Backfilled, Guest: string(o.Guest),
			Rounding: roundingFact{max(0, o.Rounding.DownloadedBytes), max(0, o.Rounding.UploadedBytes)},
		},
	}
	if g := e.Data.Guest; g != nil {
		f.Guest = guestFacts(*g)
	}
	if p := e.Data.Previous; p != nil {
		f.Previous = previousFacts(*p)
	}
	if c := e.Data.Change; c != nil {
		f.Change = changeFacts(*c)
	}
	return f
}
