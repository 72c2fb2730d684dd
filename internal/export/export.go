// Package export writes tables of what the streams hold, for spreadsheets and analysts:
// sessions and visits that are over, and occupancy by hour, as CSV or Parquet.
//
// Data comes from the streams of session events and of visits, and goes into a file. It
// reads and keeps nothing, so every run begins anew, from the start or behind a sequence
// that an earlier run named. With K set, rows that could single people out are made
// coarser until they cannot, or left out (see Anonymous).
package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
)

// Request says what to write.
type Request struct {
	Sessions events.Subjects // of the stream of session events
	Visits   visits.Subjects // of the stream of visits

	// Account and Location choose; empty means all.
	Account, Location string
	// In chooses locations, too; nil means all. Of a visit, one of them will do.
	In func(account, location string) bool
	// Since and Until bound when a session or visit ended, or an hour: from Since on,
	// and before Until. Zero means no bound.
	Since, Until time.Time
	// After is the sequence in the stream behind which rows are read; 0 means all.
	// Occupancy has no use for it.
	After uint64
	// K is how many people a row must stand for; below 2 rows are written as they are.
	K int
	// Lateness is how late a change may become known, and Gap the longest silence that a
	// visit outlasts: what the watermark keeps clear of.
	Lateness, Gap time.Duration

	Format Format
}

// Report says what was written.
type Report struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
	// CompleteUntil is the watermark: what ended before it is in the stream, and so in
	// the table, unless it took longer than Lateness to be seen. Zero where the stream is
	// empty.
	CompleteUntil time.Time `json:"complete_until,omitzero"`
	// After and LastSequence are the sequences behind which, and up to which, the stream
	// was read: LastSequence is the After of the run that goes on.
	After        uint64 `json:"after"`
	LastSequence uint64 `json:"last_sequence"`
	// Unreadable counts messages that were no events.
	Unreadable int64 `json:"unreadable,omitempty"`
	// K, and how many sessions, visits or hours were left out since too few people stood
	// behind them even when all was made coarser.
	K       int   `json:"k,omitempty"`
	LeftOut int64 `json:"left_out,omitempty"`
}

// chunk is how many messages are decoded at a time.
const chunk = 512

// read hands the messages of a stream, from a place on, to decode, on all processors, and
// what comes of them to take, in the order of the stream and on one goroutine. decode
// returns false for what is no event.
func read[T any](ctx context.Context, stream jetstream.Stream, from consume.From, subjects []string, decode func(jetstream.Msg, *jetstream.MsgMetadata) (T, bool), take func([]T) error) (last uint64, unreadable int64, err error) {
	type message struct {
		msg  jetstream.Msg
		meta *jetstream.MsgMetadata
	}
	type decoded struct {
		rows []T
		bad  int64
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan chan decoded, 2*runtime.GOMAXPROCS(0)) // bounds what is under way
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed := false
		for next := range queue {
			d := <-next
			unreadable += d.bad
			if failed {
				continue
			}
			if err := take(d.rows); err != nil {
				failed = true
				cancel(err)
			}
		}
	}()
	var some []message
	flush := func() {
		if len(some) == 0 {
			return
		}
		work, result := some, make(chan decoded, 1)
		some = make([]message, 0, chunk)
		queue <- result
		go func() {
			d := decoded{rows: make([]T, 0, len(work))}
			for _, m := range work {
				if row, ok := decode(m.msg, m.meta); ok {
					d.rows = append(d.rows, row)
				} else {
					d.bad++
				}
			}
			result <- d
		}()
	}
	err = consume.Past(ctx, stream, from, subjects, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		last = meta.Sequence.Stream
		if some = append(some, message{m, meta}); len(some) == chunk {
			flush()
		}
		return true, ctx.Err()
	})
	flush()
	close(queue)
	<-done
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return last, unreadable, err
}

// watermark is the latest time up to which a stream tells of every account: seen reads
// the time that the last message of each was certain at.
func watermark(ctx context.Context, stream jetstream.Stream, filters []string, account func(subject string) (string, error), filter func(account string) string, seen func(body []byte) (time.Time, error)) (time.Time, error) {
	accounts := map[string]bool{}
	for _, f := range filters {
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(f))
		if err != nil {
			return time.Time{}, err
		}
		for subject := range info.State.Subjects {
			if name, err := account(subject); err == nil {
				accounts[name] = true
			}
		}
	}
	var least time.Time
	for name := range accounts {
		m, err := stream.GetLastMsgForSubject(ctx, filter(name))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		at, err := seen(m.Data)
		if err != nil { // no event; somebody published it by hand
			if at, err = seenBefore(ctx, stream, m.Sequence, filter(name), seen); err != nil {
				return time.Time{}, err
			}
		}
		if !at.IsZero() && (least.IsZero() || at.Before(least)) {
			least = at
		}
	}
	return least, nil
}

// seenBefore is what the last event tells before a sequence of the stream; zero where there
// is none. It is looked for in ever longer stretches, since few messages are no events.
func seenBefore(ctx context.Context, stream jetstream.Stream, end uint64, filter string, seen func(body []byte) (time.Time, error)) (at time.Time, err error) {
	for length, from := uint64(64), end; at.IsZero() && from > 1 && err == nil; length *= 16 {
		from -= min(length, from-1)
		err = consume.Past(ctx, stream, consume.FromSequence(from), []string{filter}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
			if t, err := seen(m.Data()); err == nil && meta.Sequence.Stream < end {
				at = t
			}
			return meta.Sequence.Stream < end, nil
		})
	}
	return at, err
}

// completeUntil is the watermark of the stream of session events.
func (r *Request) completeUntil(ctx context.Context, stream jetstream.Stream) (time.Time, error) {
	at, err := watermark(ctx, stream, []string{r.Sessions.Filter(r.Account, "", "")},
		func(subject string) (string, error) { name, _, _, err := r.Sessions.Parse(subject); return name, err },
		func(account string) string { return r.Sessions.Filter(account, "", "") },
		func(body []byte) (time.Time, error) {
			e, err := events.Decode(body)
			return e.Data.Observed.At, err
		})
	if err != nil || at.IsZero() {
		return time.Time{}, err
	}
	return at.Add(-r.Lateness).UTC(), nil
}

// within reports whether a time is in the range that was asked for.
func (r *Request) within(t time.Time) bool {
	return !t.Before(r.Since) && (r.Until.IsZero() || t.Before(r.Until))
}

// in reports whether a location, or one of several, is chosen.
func (r *Request) in(account string, locations ...string) bool {
	return r.In == nil || slices.ContainsFunc(locations, func(l string) bool { return r.In(account, l) })
}

// from is where reading begins.
func (r *Request) from() consume.From {
	if r.After > 0 {
		return consume.FromSequence(r.After + 1)
	}
	return consume.FromStart()
}

// written is a table under way: the report is stamped into the file at its end.
func written[T any](out io.Writer, f Format, report *Report, fill func(put func([]T) error) error) error {
	s, err := open[T](out, f)
	if err != nil {
		return err
	}
	err = fill(func(rows []T) error {
		report.Rows += int64(len(rows))
		return s.write(rows)
	})
	if err != nil {
		return err
	}
	if err := s.close(*report); err != nil {
		return fmt.Errorf("writing %s: %w", report.Table, err)
	}
	return nil
}
