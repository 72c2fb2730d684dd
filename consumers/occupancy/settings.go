package occupancy

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/forgotten"
)

// Settings of a Service. A zero field means its default.
type Settings struct {
	// Stream and Prefix are those that the publisher uses. Defaults
	// events.DefaultStream and events.DefaultPrefix.
	Stream, Prefix string
	// Account limits the service to one account; empty means every one.
	Account string

	// Bucket is the key-value bucket that holds one JSON value (see Location) a
	// location, under the key that Key gives. Default "guest-occupancy". The
	// checkpoints lie in an object store named after it, with "-state" added.
	Bucket string
	// Replicas of the bucket and of the object store. Default 1.
	Replicas int
	// Declared says that bucket and object store are declared elsewhere: none is made.
	Declared bool
	// WriteEvery is the shortest time between two writes of one location, and
	// between two occupancy messages to a browser. Default 1 s.
	WriteEvery time.Duration
	// CheckpointEvery is how often the state is saved while events come in, a third as
	// many as there are sessions; after fewer, a tenth as often. A restart reads only
	// what came after. Default 1 min.
	CheckpointEvery time.Duration

	// Limits bound the history.
	Limits Limits

	// Token, when set, is what a request must bear (Authorization: Bearer …, or
	// Guestflow-Token: …) to see personal data.
	Token string
	// Groups are those of locations, with tokens that show the locations of some alone; nil
	// is none. Where there are such tokens, every request for data must bear one, or Token.
	Groups Groups
	// Private refuses every request for data that does not bear the token.
	Private bool
	// Unmasked shows personal data to everybody where no token is set.
	Unmasked bool
	// Origins are the origins of web pages elsewhere that may read the interface
	// ("https://board.example"; "*" for any). None by default.
	Origins []string
	// FeedBytes bounds the latest events that are kept encoded for browsers: a
	// client that falls behind by more is dropped. Default 16 MiB.
	FeedBytes int
	// Heartbeat is how often a silent client hears a comment. Default 15 s.
	Heartbeat time.Duration

	// LookAge tells how old the latest look at a place is, where pollers run in this
	// process; nil goes by what was heard last of an account.
	LookAge LookAge
	// Watched tells which places are looked at by pollers that run in this process: one at
	// which nothing has ever happened is known by that alone. Nil tells of none.
	Watched func() []Watched
	// Days tells the sessions of each weekday by the platform's history; nil where that is
	// not known.
	Days Days
	// Pipelines reports the health of the pollers, when they run in this process.
	Pipelines PipelineSource
	// Visits is the stream of visits, of which today's are counted; empty where none are
	// made.
	Visits string
	// Alerts tells the alerts that are raised; nil where none ever are.
	Alerts func() []alerts.Event
	// Webhooks tells how webhooks fare, and sends again; nil where none are sent.
	Webhooks Webhooks
	// Stories tells all about one session; nil where nobody can.
	Stories Stories
	// Forgotten is who is to be forgotten: no session is shown as theirs. Nil is nobody.
	// Forget has to be called when it grows.
	Forgotten *forgotten.List
	// Now is the clock, which should agree with that of the NATS server. Default
	// time.Now.
	Now func() time.Time
	// Log defaults to slog.Default.
	Log *slog.Logger
}

// PipelineSource tells how the part before the stream fares. It is called on the
// goroutine of a request and must not block.
type PipelineSource interface {
	Pipelines() []Pipeline
}

// Pipeline is the health of one account's path from the platform to the stream.
type Pipeline struct {
	Account string `json:"account"`
	// State in a word or two: "polling", "backing off", "stopped".
	State string `json:"state"`
	// BudgetUsed is the fraction, 0 to 1, of the requests that the platform
	// permits which went out in the last minute; BudgetPerMinute is their number.
	BudgetUsed      float64 `json:"budget_used"`
	BudgetPerMinute int     `json:"budget_per_minute"`
	// StalenessSeconds is the age of the oldest look at any location,
	// StalestLocation its id.
	StalenessSeconds float64 `json:"staleness_seconds"`
	StalestLocation  string  `json:"stalest_location,omitempty"`
	// OutboxEvents and OutboxBytes wait to be published, the oldest of them for
	// OutboxAgeSeconds.
	OutboxEvents     int     `json:"outbox_events"`
	OutboxBytes      int64   `json:"outbox_bytes"`
	OutboxAgeSeconds float64 `json:"outbox_age_seconds"`
	// DelayP50Seconds and DelayP95Seconds lie between a change at the source and
	// its event.
	DelayP50Seconds float64 `json:"delay_p50_seconds"`
	DelayP95Seconds float64 `json:"delay_p95_seconds"`
	// LastError is the latest one, for people; empty when there was none.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

func (s Settings) withDefaults() Settings {
	text := func(v *string, standard string) {
		if *v == "" {
			*v = standard
		}
	}
	span := func(v *time.Duration, standard time.Duration) {
		if *v <= 0 {
			*v = standard
		}
	}
	text(&s.Stream, events.DefaultStream)
	text(&s.Prefix, events.DefaultPrefix)
	text(&s.Bucket, "guest-occupancy")
	span(&s.WriteEvery, time.Second)
	span(&s.CheckpointEvery, time.Minute)
	span(&s.Heartbeat, 15*time.Second)
	s.Replicas = max(s.Replicas, 1)
	if s.FeedBytes <= 0 {
		s.FeedBytes = 16 << 20
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	s.Limits = s.Limits.withDefaults()
	return s
}

// Check says which setting cannot work, and what would.
func (s Settings) Check() error {
	if _, err := events.NewSubjects(s.Prefix); err != nil {
		return fmt.Errorf("occupancy: %w", err)
	}
	if s.Private && s.Token == "" {
		return fmt.Errorf("occupancy: Private is set without a Token: nobody could read anything; set a token or leave Private out")
	}
	if s.Unmasked && s.Token != "" {
		return fmt.Errorf("occupancy: Unmasked shows personal data to everybody, a Token to its bearers: set one of the two")
	}
	if strings.Trim(s.Bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return fmt.Errorf("occupancy: bucket %q: use letters, digits, '-' and '_'", s.Bucket)
	}
	for _, o := range s.Origins {
		if o == "*" {
			continue
		}
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("occupancy: origin %q: write scheme and host alone, as in https://board.example, or *", o)
		}
	}
	return nil
}
