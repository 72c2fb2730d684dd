package poller

import (
	"maps"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

// lag is how far answers may be behind. A platform that spreads its reads over replicas
// of its database answers now from one that is up to date, now from one that is not: who
// has come is absent from the next answer, who has left is on it, and figures fall. What
// is newer than an answer may be behind says nothing against it, nor the answer against
// that.
type lag struct {
	Measured time.Duration // the most that answers were seen to be behind
	At       time.Time     // local clock: when they were last
	pruned   time.Time     // local clock: when prune last walked over who has left
}

const (
	// leastLag is how far behind any answer may be. All that it costs is that the end of
	// a session which was known for less is proven once it was known for as long.
	leastLag = 10 * time.Second
	// mostLag is how far behind one may be that shows lower figures of several sessions
	// than are known of them; of one alone a platform begins to count anew now and then.
	mostLag = diff.MostBehind
	// lagMemory is how long evidence counts.
	lagMemory = time.Hour
	// pruning is the time between two walks over who has left.
	pruning = 10 * time.Second
)

// tolerated is how far behind an answer may be: twice as much as was seen, since the
// answers that show it are not the worst.
func (l *lag) tolerated() time.Duration { return min(max(leastLag, 2*l.Measured), mostLag) }

// lagging is how far behind answers are taken to be at times, by what they showed of late;
// zero where they never were.
func (k *account) lagging(now time.Time) time.Duration {
	if k.lag.Measured > 0 && now.Sub(k.lag.At) > lagMemory {
		k.lag.Measured = 0
	}
	if k.lag.Measured == 0 {
		return 0
	}
	return k.lag.tolerated()
}

// young reports whether a session is known for so short a time that its absence from an
// answer, of a moment from since on, may only tell that the answer is behind. That it is
// shown again is no evidence of that: it may have left and come back.
func (e *entry) young(since float64) bool { return e.entered > since }

// suspect notes that an answer shows lower figures than are known. If one that was asked
// for later does not, the answer was behind.
func (k *account) suspect(e *entry, m timing) {
	e.behind = max(e.behind, k.roster.rows.Seconds(m.sent)-k.shownAt(e))
	e.doubted = k.roster.rows.Seconds(m.came)
}

// caughtUp takes a session that an answer shows as it was known, or later, for evidence of
// how far behind those were that did not.
func (k *account) caughtUp(e *entry, s *events.Session, m timing) {
	if e.behind <= 0 || k.roster.rows.Seconds(m.sent) <= e.doubted {
		return
	}
	was := seconds(e.behind)
	if e.behind = 0; e.fallen(s) {
		return
	}
	now := k.Clock.Now()
	if k.lagging(now) == 0 {
		k.Logger.Warn("the platform's answers go back in time, as where its reads are spread over replicas that lag: ends of sessions that were just seen for the first time are published later; ask the platform's support for reads of one database", "by", was.Round(time.Second))
	}
	k.lag.Measured = max(k.lag.Measured, was)
	k.lag.At = now
}

// lagKey names what was seen of the lag, lest each start have to see it anew.
const lagKey = "account.lag"

func (k *account) saveLag() error {
	if k.lag.Measured == k.savedLag.Measured && k.lag.At.Sub(k.savedLag.At) < lagMemory/4 {
		return nil
	}
	k.savedLag = k.lag
	return k.remember(lagKey, k.lag)
}

// shownAt is when a session was last shown. What the last process knew of it may be as new
// as this one's beginning.
func (k *account) shownAt(e *entry) float64 {
	return max(e.shown, k.roster.rows.Seconds(k.begun))
}

// prune forgets who has left so long ago that no answer may be behind that, of those under
// way neither.
func (k *account) prune(now time.Time) {
	if now.Sub(k.lag.pruned) < pruning {
		return
	}
	k.lag.pruned = now
	oldest := now
	for _, f := range k.requests.underWay {
		if f.sent.Before(oldest) {
			oldest = f.sent
		}
	}
	since := k.roster.rows.Seconds(oldest.Add(-mostLag))
	maps.DeleteFunc(k.roster.parted, func(_ string, at float64) bool { return at < since })
}
