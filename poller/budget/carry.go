package budget

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Exchange is one request, and when it was answered, for another process.
type Exchange struct {
	Sent     time.Time `json:"s"`
	Answered time.Time `json:"a"` // zero while under way
}

// Recorded are the requests of the last Window in a log, oldest first; none where there
// is no log. A Budget may be using it.
func Recorded(path string) ([]Exchange, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(content) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(content) < logHeader || string(content[:len(logMagic)]) != logMagic {
		return nil, fmt.Errorf("request log %s: it is none", path)
	}
	var log []Exchange
	oldest := time.Now().Add(-Window)
	for _, x := range decodeExchanges(content, clockAhead()) {
		if x.answered.IsZero() || x.answered.After(oldest) {
			log = append(log, Exchange{Sent: x.sent.UTC(), Answered: x.answered.UTC()})
		}
	}
	return log, nil
}

// Assumed are the most requests that a Budget of limit can have sent between two times.
func Assumed(limit int, from, to time.Time) []Exchange {
	every := time.Duration(float64(time.Second) / float64(spacingOf(limit)))
	var log []Exchange
	for i := range burstOf(limit) - 1 {
		at := to.Add(-time.Duration(i+1) * time.Nanosecond) // no two are the same
		log = append(log, Exchange{Sent: at, Answered: at})
	}
	for at := to; at.After(from.Add(-every)) && len(log) < limit; at = at.Add(-every) {
		log = append(log, Exchange{Sent: at, Answered: at})
	}
	return log
}

// Merge adds requests that another process sent to a log that no Budget uses.
func Merge(path string, limit int, more []Exchange) error {
	return merge(path, limit, func([]exchange, time.Time) []Exchange { return more })
}

// MergeUntil is Merge where they are known until a time. From then on as many are taken
// for sent as a Budget of the limit can have sent, in the place of what the log has itself:
// one process at a time has sent them.
func MergeUntil(path string, limit int, more []Exchange, until time.Time) error {
	return merge(path, limit, func(own []exchange, now time.Time) []Exchange {
		for i := range own {
			if !own[i].sent.Before(until) {
				own[i] = exchange{}
			}
		}
		return append(slices.Clone(more), Assumed(limit, until, now)...)
	})
}

// merge adds what else was sent, given what the log has, of which it may clear some.
func merge(path string, limit int, more func(own []exchange, now time.Time) []Exchange) error {
	limit = max(1, limit)
	l, err := OpenLog(path, limit)
	if err != nil {
		return err
	}
	now := time.Now()
	log := l.restored(now)
	added := more(log, now)
	log = slices.DeleteFunc(log, func(x exchange) bool { return x.sent.IsZero() })
	for _, x := range added {
		e := exchange{sent: x.Sent, answered: x.Answered}
		e.answered = endOf(e, now)
		if !slices.ContainsFunc(log, func(was exchange) bool { return was.sent.Equal(e.sent) }) {
			log = append(log, e)
		}
	}
	slices.SortFunc(log, func(a, b exchange) int { return a.sent.Compare(b.sent) })
	l.rewrite(log[max(0, len(log)-limit):])
	return l.Close()
}
