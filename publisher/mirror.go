package publisher

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// duplicateWindow is the server's own default, which it gives no mirror and no stream
// with sources.
const duplicateWindow = 2 * time.Minute

// mirrored is the field of a stream that copies another, and takes nothing else.
const mirrored = "mirror"

// unlike lists in what a mirror has to be edited to become a stream for the subjects.
func unlike(is jetstream.StreamConfig, subjects string) []Difference {
	d := []Difference{{mirrored, "a copy of " + source(is.Mirror), "none", fmt.Sprintf("--no-mirror --subjects='%s' --metadata %s=%s", subjects, events.MetadataMade, events.MadeAgain)}}
	if window, short := shortWindow(is); short {
		d = append(d, window)
	}
	return d
}

// promotion says what to do about a mirror. It may hold the last copy of the events, so
// that nothing may lead to its deletion.
func promotion(stream, edit string, declared bool) string {
	how := fmt.Sprintf("run: nats stream edit %s%s", stream, edit)
	if declared {
		how = "make it so where it is declared"
	}
	return "; a mirror takes no events itself. While what it copies is there, set GUESTFLOW_NATS_URL (or GUESTFLOW_STREAM) to that. Once that is lost for good, promote the mirror" +
		" (deploy/README.md, Disaster recovery): stop every guestflow, " + how + ", and start with the former data directory, or an empty one if that went on for long after the loss. Do not delete the mirror"
}

// MirrorError says that a stream which has to take messages copies another.
type MirrorError struct {
	Name string
	// Of is what it copies, in words.
	Of string
}

func (e *MirrorError) Error() string {
	return fmt.Sprintf("stream %s is a mirror of %s, and takes nothing itself; once that is lost for good, give it the subjects that it had there: nats stream edit %s --no-mirror --subjects=… --dupe-window=%v",
		e.Name, e.Of, e.Name, duplicateWindow)
}

// Cautions says what an operator should know of a stream that takes messages but may
// hold some twice; empty for nothing. The error is a *MirrorError.
func Cautions(is jetstream.StreamConfig) ([]string, error) {
	if is.Mirror != nil {
		return nil, &MirrorError{is.Name, source(is.Mirror)}
	}
	var all []string
	if len(is.Sources) > 0 {
		var names []string
		for _, s := range is.Sources {
			names = append(names, source(s))
		}
		all = append(all, fmt.Sprintf("stream %s copies %s too (sources): no account that is published here may be in that, and a filter that is widened copies everything once more", is.Name, strings.Join(names, ", ")))
	}
	if d, short := shortWindow(is); short {
		all = append(all, fmt.Sprintf("stream %s: %s is %s, wanted %s: what is sent again later is kept twice, where it goes by its id; run: nats stream edit %s %s", is.Name, d.Field, d.Is, d.Want, is.Name, d.Edit))
	}
	return all, nil
}

// shortWindow compares for how long ids are known with the server's default, or with how
// long messages stay where that is less.
func shortWindow(is jetstream.StreamConfig) (d Difference, short bool) {
	want := duplicateWindow
	if is.MaxAge > 0 {
		want = min(want, is.MaxAge)
	}
	now := "none"
	if is.Duplicates > 0 {
		now = is.Duplicates.String()
	}
	return Difference{"duplicate_window", now, want.String() + " or longer", fmt.Sprintf("--dupe-window=%v", want)}, is.Duplicates < want
}

// source names what a mirror, or a stream with sources, copies.
func source(s *jetstream.StreamSource) string {
	switch {
	case s.External != nil && s.External.APIPrefix != "":
		return s.Name + " at " + s.External.APIPrefix
	case s.Domain != "":
		return s.Name + " in domain " + s.Domain
	}
	return s.Name
}
