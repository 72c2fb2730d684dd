package visit

import (
	"log/slog"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
)

// Settings of a Service. A zero field means its default.
type Settings struct {
	Rules Rules
	// Stream and Prefix are those of session events. Defaults events.DefaultStream and
	// events.DefaultPrefix.
	Stream, Prefix string
	// Visits and VisitPrefix are those of visit events. Defaults visits.DefaultStream and
	// visits.DefaultPrefix. The stream is made where it does not exist, with MaxAge (0
	// keeps for ever) and Replicas (default 1); one that exists is never changed.
	Visits, VisitPrefix string
	MaxAge              time.Duration
	Replicas            int
	// Declared says that stream and object store are declared elsewhere, and never made
	// here.
	Declared bool
	// State is the object store of the checkpoints. Default "guest-visits-state".
	State string
	// CheckpointEvery is how often the state is saved at most: ten times less often where few
	// events came since, of very many guests. A restart reads only what came after.
	// Default 1 min.
	CheckpointEvery time.Duration
	// TickEvery is how often time alone is asked whether it makes anything certain.
	// Default 1 s.
	TickEvery time.Duration
	// LookedAt tells the time on an account's platform up to which its sessions were
	// looked at, with what was seen in the stream; zero when nobody knows, and long ago when
	// somebody else does. It keeps visits open while nobody polls, or nothing can be
	// published. Without it the time is this machine's, corrected by what the account's
	// latest event shows.
	LookedAt func(account string) time.Time
	// Count asks platforms how many sessions they have, so that visits have numbers; nil asks
	// nobody. WholeHistory says that the platforms are known to forget nothing; else that is
	// found out.
	Count        Counting
	WholeHistory bool
	// Forgotten is who is to be forgotten: no visit of theirs is found by later sessions,
	// and none names them. Nil is nobody. Forget has to be called when it grows.
	Forgotten *forgotten.List
	// Now is the clock, which should agree with that of the NATS server. Default time.Now.
	Now func() time.Time
	// Log defaults to slog.Default.
	Log *slog.Logger
}

// DefaultState is the object store of the checkpoints.
const DefaultState = "guest-visits-state"

func (s Settings) withDefaults() Settings {
	text := func(v *string, unset string) {
		if *v == "" {
			*v = unset
		}
	}
	text(&s.Stream, events.DefaultStream)
	text(&s.Visits, visits.DefaultStream)
	text(&s.State, DefaultState)
	if s.Replicas <= 0 {
		s.Replicas = 1
	}
	if s.CheckpointEvery <= 0 {
		s.CheckpointEvery = time.Minute
	}
	if s.TickEvery <= 0 {
		s.TickEvery = time.Second
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	s.Rules = s.Rules.withDefaults()
	return s
}

// Check returns what is wrong with the settings.
func (s Settings) Check() error {
	if err := s.Rules.Check(); err != nil {
		return err
	}
	if _, err := events.NewSubjects(s.Prefix); err != nil {
		return err
	}
	_, err := visits.NewSubjects(s.VisitPrefix)
	return err
}

// subjects are those of visit events; Check has found the prefix to be right.
func (s Settings) subjects() visits.Subjects {
	subjects, _ := visits.NewSubjects(s.VisitPrefix)
	return subjects
}
