package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// StreamSettings say what EnsureStream makes, or finds good enough.
type StreamSettings struct {
	// Name is the stream's name. Default events.DefaultStream.
	Name string
	// Subjects are the prefix; the stream takes Subjects.All().
	Subjects events.Subjects
	// MaxAge is how long events stay; zero keeps them for ever. An existing stream
	// that keeps them longer is accepted.
	MaxAge time.Duration
	// MaxBytes bounds the stream, oldest events go first; zero is no bound. Any bound
	// of an existing stream is accepted.
	MaxBytes int64
	// Replicas is the number of servers that hold the stream. Default 1. More are
	// accepted.
	Replicas int
	// Duplicates is the server's window for dropping messages with the same id;
	// zero is the server's default of 2 minutes. Any window of an existing stream is
	// accepted, since no event rests on it; Cautions tells of a short one.
	Duplicates time.Duration
	// Declared says that the stream is declared elsewhere: none is made, and what is
	// wrong with one is to be mended in its declaration.
	Declared bool
	// Again says that a stream which has to be made takes the place of one that held
	// events before. Publishers send what they still keep to such a stream, and not
	// to one that somebody else made anew.
	Again bool
}

// Difference is one setting in which an existing stream is not what is wanted.
type Difference struct {
	// Field is the setting's JSON name in the stream's configuration.
	Field string
	// Is and Want are in words.
	Is, Want string
	// Edit is the option of `nats stream edit` that mends it; empty when that cannot
	// be changed on an existing stream.
	Edit string
}

// StreamError says how an existing stream differs from what is wanted in ways
// that would lose, hide or hold up events. The stream was not changed.
type StreamError struct {
	Name        string
	Differences []Difference
	// Declared is the setting's.
	Declared bool
}

func (e *StreamError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "stream %s exists and differs:", e.Name)
	edit, fixed, mirror := "", false, false
	for i, d := range e.Differences {
		if i > 0 {
			text.WriteByte(';')
		}
		fmt.Fprintf(&text, " %s is %s, wanted %s", d.Field, d.Is, d.Want)
		mirror = mirror || d.Field == mirrored
		if d.Edit == "" {
			fixed = true
		} else {
			edit += " " + d.Edit
		}
	}
	switch {
	case mirror:
		text.WriteString(promotion(e.Name, edit, e.Declared))
	case e.Declared:
		text.WriteString("; mend it where it is declared")
		if fixed {
			text.WriteString(", under another name: a stream cannot be changed in this")
		}
	case fixed:
		fmt.Fprintf(&text, "; a stream cannot be changed in this: use another stream name (and subject prefix), or delete it with its events: nats stream rm %s", e.Name)
	default:
		fmt.Fprintf(&text, "; run: nats stream edit %s%s", e.Name, edit)
	}
	return text.String()
}

// EnsureStream makes the stream, or checks the one that exists and leaves it as
// it is. It returns the stream's state.
//
// A new stream has file storage, limits retention, direct gets, and atomic
// and fast batches where the server has them. Of an existing one it is required that it
// takes the subjects as they are, keeps every event for MaxAge on disk with
// Replicas copies, and acknowledges; everything else is the operator's business.
//
// The error is a *StreamError for an existing stream that will not do,
// ErrPermission where the user may not look for the stream, or make it, and wraps
// jetstream.ErrStreamNotFound where a declared one is not there.
func EnsureStream(ctx context.Context, js jetstream.JetStream, s StreamSettings) (*jetstream.StreamInfo, error) {
	s.Name = cmp.Or(s.Name, events.DefaultStream)
	s.Replicas = cmp.Or(s.Replicas, 1)
	// An existing stream is looked for first, since making one that is the same but
	// for a detail would fail with less to say.
	info, err := existing(ctx, js, s.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && s.Declared {
		return nil, fmt.Errorf("%w; with GUESTFLOW_STREAM_MANAGE=false it is made elsewhere: declare it for %s, or unset the variable", err, s.Subjects.All())
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		info, err = create(ctx, js, s)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			info, err = existing(ctx, js, s.Name) // another process was faster
		}
	}
	if err != nil {
		return nil, err
	}
	if d := differences(info.Config, s); len(d) > 0 {
		return nil, &StreamError{Name: s.Name, Differences: d, Declared: s.Declared}
	}
	return info, nil
}

func existing(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	if err := permitted(ctx, js, "STREAM.INFO."+name, "find the stream"); err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, explain(err))
	}
	return stream.CachedInfo(), nil
}

func create(ctx context.Context, js jetstream.JetStream, s StreamSettings) (*jetstream.StreamInfo, error) {
	config := jetstream.StreamConfig{
		Name:        s.Name,
		Description: "Guest Wi-Fi session events, made by guestflow",
		Subjects:    []string{s.Subjects.All()},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardOld,
		MaxAge:      s.MaxAge,
		MaxBytes:    s.MaxBytes,
		Replicas:    s.Replicas,
		Duplicates:  s.Duplicates,
		AllowDirect: true,
		// Servers before 2.12 leave it out.
		AllowAtomicPublish: true,
		// From 2.12 on they may refuse settings that they have never heard of.
		AllowBatchPublish: serverIs(js.Conn(), 2, 14),
		Metadata:          map[string]string{"guestflow.contract": "1"},
	}
	if s.Again {
		config.Metadata[events.MetadataMade] = events.MadeAgain
	}
	if s.MaxAge > 0 && (s.Duplicates == 0 || s.Duplicates > s.MaxAge) {
		config.Duplicates = min(s.MaxAge, 2*time.Minute) // the server refuses a longer one
	}
	if err := permitted(ctx, js, "STREAM.CREATE."+s.Name, "make the stream"); err != nil {
		return nil, fmt.Errorf("create stream %s: %w", s.Name, err)
	}
	stream, err := js.CreateStream(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("create stream %s for %s: %w", s.Name, config.Subjects[0], explain(err))
	}
	return stream.CachedInfo(), nil
}

// serverIs reports whether the server is of a version or newer.
func serverIs(nc *nats.Conn, major, minor int) bool {
	var is, then int
	n, _ := fmt.Sscanf(nc.ConnectedServerVersion(), "%d.%d", &is, &then)
	return n == 2 && (is > major || is == major && then >= minor)
}

// WouldGain returns the options of `nats stream edit` with which a backlog would go into
// an existing stream faster; empty for none. A replicated stream gains by atomic batches
// alone.
func WouldGain(info *jetstream.StreamInfo, nc *nats.Conn) string {
	var options []string
	if !info.Config.AllowAtomicPublish && serverIs(nc, 2, 12) {
		options = append(options, "--allow-batch")
	}
	if !info.Config.AllowBatchPublish && info.Config.Replicas <= 1 && serverIs(nc, 2, 14) {
		options = append(options, "--allow-fast")
	}
	return strings.Join(options, " ")
}

// explain adds a remedy to the errors that an operator meets.
func explain(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w; enable JetStream in the server's configuration (jetstream {}) and for the user's account", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer; see whether the server is overloaded, or a cluster has lost its majority", err)
	case errors.As(err, &api) && api.ErrorCode == 10065:
		return fmt.Errorf("%w; another stream takes these subjects: name it with GUESTFLOW_STREAM, or choose another GUESTFLOW_SUBJECT_PREFIX", err)
	case errors.As(err, &api) && (api.ErrorCode == 10074 || api.ErrorCode == 10005):
		return fmt.Errorf("%w; the cluster has too few servers with JetStream for GUESTFLOW_STREAM_REPLICAS", err)
	case errors.As(err, &api) && (api.ErrorCode == 10047 || api.ErrorCode == 10028 || api.ErrorCode == 10023):
		return fmt.Errorf("%w; raise the JetStream limits of the server (max_file_store) or of the account", err)
	}
	return err
}

// differences lists what keeps an existing stream from doing.
func differences(is jetstream.StreamConfig, want StreamSettings) []Difference {
	var d []Difference
	add := func(wrong bool, field, is, want, edit string) {
		if wrong {
			d = append(d, Difference{field, is, want, edit})
		}
	}
	all := want.Subjects.All()
	if is.Mirror != nil {
		d = append(d, unlike(is, all)...)
	}
	add(is.Mirror == nil && !slices.ContainsFunc(is.Subjects, func(s string) bool { return covers(s, all) }),
		"subjects", strings.Join(is.Subjects, ","), "one that takes "+all, "--subjects='"+strings.Join(append(slices.Clone(is.Subjects), all), ",")+"'")
	add(is.SubjectTransform != nil, "subject_transform", "set", "none", "--no-transform")
	add(is.Retention != jetstream.LimitsPolicy, "retention", strings.ToLower(is.Retention.String()), "limits", "")
	add(is.Storage != jetstream.FileStorage, "storage", strings.ToLower(is.Storage.String()), "file", "")
	add(is.NoAck, "no_ack", "true", "false", "--ack")
	add(is.Sealed, "sealed", "true", "false", "")
	add(is.MaxMsgsPerSubject > 0, "max_msgs_per_subject", fmt.Sprint(is.MaxMsgsPerSubject), "no limit, since each event is one", "--max-msgs-per-subject=-1")
	keeps := "unlimited"
	if want.MaxAge > 0 {
		keeps = want.MaxAge.String() + " or longer"
	}
	edit := fmt.Sprintf("--max-age=%s", want.MaxAge)
	if want.MaxAge == 0 {
		edit = "--max-age=-1"
	}
	add(is.MaxAge > 0 && (want.MaxAge == 0 || is.MaxAge < want.MaxAge), "max_age", is.MaxAge.String(), keeps, edit)
	add(is.Replicas < want.Replicas, "num_replicas", fmt.Sprint(is.Replicas), fmt.Sprintf("%d or more", want.Replicas), fmt.Sprintf("--replicas=%d", want.Replicas))
	return d
}

// covers reports whether every subject that filter matches is matched by
// pattern. Both are valid subjects with wildcards.
func covers(pattern, filter string) bool {
	p, f := strings.Split(pattern, "."), strings.Split(filter, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return i < len(f)
		case i >= len(f) || f[i] == ">":
			return false
		case token != "*" && token != f[i]:
			return false
		}
	}
	return len(p) == len(f)
}
