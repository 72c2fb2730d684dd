package address

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// honest is a platform that tells the truth in one of its ways, of one address.
type honest struct {
	grain   float64
	rounds  bool // to the nearest, else it cuts
	stale   bool // who is gone is told with the duration at the end
	holders []Span
}

// reply answers a question that is worked on at a time. The holder that began last
// answers, of those online as far as there are any.
func (h *honest) reply(sent, at, came float64) Reply {
	r := Reply{Sent: sent, Came: came}
	var best *Span
	for i := range h.holders {
		s := &h.holders[i]
		if s.From > at || s.To <= at && !h.stale {
			continue
		}
		if best == nil || (s.To > at) == (best.To > at) && s.From > best.From || s.To > at && best.To <= at {
			best = s
		}
	}
	if best == nil {
		return r
	}
	d := (min(at, best.To) - best.From) / h.grain
	if r.Told = true; h.rounds {
		d = math.Round(d)
	} else {
		d = math.Floor(d)
	}
	r.Duration = int64(d * h.grain)
	return r
}

// Whatever an honest platform is like, and whoever else has the address: nobody is Gone
// who is online, and who is Here was online at the time that is told.
func TestOnlyTheGoneAreGone(t *testing.T) {
	verdicts := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			history(t, verdicts)
		}
	})
	for _, want := range []string{"3 false 1", "3 false 60", "3 true 1", "3 true 60", "1 true 1", "4 false 1"} {
		if !verdicts[want] {
			t.Errorf("verdict, stale, grain %s was never reached; all: %v", want, verdicts)
		}
	}
}

// history plays one session's, and notes which verdicts there were.
func history(t *rapid.T, verdicts map[string]bool) {
	h := honest{grain: rapid.SampledFrom([]float64{1, 60}).Draw(t, "grain"), rounds: rapid.Bool().Draw(t, "rounds"), stale: rapid.Bool().Draw(t, "stale")}
	start := 1000 + rapid.Float64Range(0, 10).Draw(t, "start")
	session := Span{start, start + rapid.Float64Range(0, 400).Draw(t, "stay")}
	h.holders = append(h.holders, session)
	if !h.stale { // An ended stranger that is told still is kept apart by its address alone.
		for range rapid.IntRange(0, 2).Draw(t, "others") {
			from := rapid.Float64Range(500, 1500).Draw(t, "other's start")
			h.holders = append(h.holders, Span{from, from + rapid.Float64Range(0, 400).Draw(t, "other's stay")})
		}
	}
	rules := Rules{Grain: h.grain, Standing: h.stale}
	known := Span{math.Floor(start), math.Floor(start) + 1}
	var trace Trace
	trace.Inherited = rapid.Bool().Draw(t, "inherited")
	now := start
	for range rapid.IntRange(1, 12).Draw(t, "questions") {
		now += rapid.Float64Range(0, 120).Draw(t, "pause")
		at := now + rapid.Float64Range(0, 2).Draw(t, "way there")
		came := at + rapid.Float64Range(0, 2).Draw(t, "way back")
		r := h.reply(now, at, came)
		v, asOf := trace.Read(r, known, rules)
		verdicts[fmt.Sprint(v, h.stale, h.grain)] = true
		switch {
		case v == Gone && session.To > at:
			t.Fatalf("%+v of %+v: gone at %v", r, session, at)
		case v == Here && len(h.holders) == 1 && (asOf > came || asOf > session.To):
			t.Fatalf("%+v of %+v: online at %v", r, session, asOf)
		}
		now = rapid.SampledFrom([]float64{now, came}).Draw(t, "next")
	}
}

func TestTwoRepliesAreNeeded(t *testing.T) {
	start := Span{100, 101}
	here := func(t *testing.T, tr *Trace, at float64) {
		t.Helper()
		if v, _ := tr.Read(Reply{Sent: at, Came: at + 0.1, Told: true, Duration: int64(at - 100.5)}, start, Rules{}); v != Here {
			t.Fatalf("at %v: %v", at, v)
		}
	}
	left := func(tr *Trace, at float64) Verdict {
		v, _ := tr.Read(Reply{Sent: at, Came: at + 0.1}, start, Rules{})
		return v
	}
	t.Run("a second apart", func(t *testing.T) {
		var tr Trace
		here(t, &tr, 200)
		if a, b, c := left(&tr, 210), left(&tr, 210.9), left(&tr, 211); a != Away || b != Away || c != Gone {
			t.Error(a, b, c)
		}
	})
	t.Run("in a row", func(t *testing.T) {
		var tr Trace
		here(t, &tr, 200)
		left(&tr, 210)
		here(t, &tr, 211)
		if a, b := left(&tr, 220), left(&tr, 221); a != Away || b != Gone {
			t.Error(a, b)
		}
	})
	t.Run("one that cannot be read is none", func(t *testing.T) {
		var tr Trace
		here(t, &tr, 200)
		left(&tr, 210)
		tr.Read(Reply{Sent: 212, Came: 212.1, Told: true, Duration: -1}, start, Rules{})
		if v := left(&tr, 214); v != Away {
			t.Error(v)
		}
	})
	t.Run("the second one is asked behind the first answer", func(t *testing.T) {
		var tr Trace
		here(t, &tr, 200)
		tr.Read(Reply{Sent: 210, Came: 213}, start, Rules{})
		if v := left(&tr, 212); v != Away {
			t.Error(v)
		}
	})
	t.Run("never by an address that never told the session", func(t *testing.T) {
		var tr Trace
		for at := 200.0; at < 220; at += 2 {
			if v := left(&tr, at); v != Away {
				t.Fatal(v)
			}
		}
	})
	t.Run("but of a former process's", func(t *testing.T) {
		tr := Trace{Inherited: true}
		if a, b := left(&tr, 210), left(&tr, 212); a != Away || b != Gone {
			t.Error(a, b)
		}
	})
	t.Run("not by a duration that stands still, unless that is known to mean it", func(t *testing.T) {
		for _, standing := range []bool{false, true} {
			var tr Trace
			here(t, &tr, 200)
			read := func(at float64) Verdict {
				v, _ := tr.Read(Reply{Sent: at, Came: at + 0.1, Told: true, Duration: 105}, start, Rules{Standing: standing})
				return v
			}
			first, second := read(215), read(217)
			if standing && (first != Away || second != Gone) || !standing && first != Another {
				t.Error(standing, first, second)
			}
		}
	})
	t.Run("not after a shorter one", func(t *testing.T) {
		var tr Trace
		here(t, &tr, 200)
		if v, _ := tr.Read(Reply{Sent: 215, Came: 215.1, Told: true, Duration: 3}, start, Rules{Standing: true}); v != Another {
			t.Error(v)
		}
	})
}

func TestHopelessAddresses(t *testing.T) {
	var tr Trace
	for i := range mostStrange {
		if tr.Hopeless() {
			t.Fatal("hopeless after", i)
		}
		tr.Read(Reply{Sent: 200, Came: 200.1, Told: true, Duration: 1}, Span{100, 101}, Rules{})
	}
	if !tr.Hopeless() {
		t.Error("asked on and on")
	}
}

// No contradiction leaves a capability established, and each doubles what is needed.
func TestContradictionsCostTwice(t *testing.T) {
	var c Capability
	for n := range 4 {
		live, gone, stayed := LeastLive<<n, LeastGone<<n, LeastStayed<<n
		for i := 0; i < live+gone+stayed; i++ {
			if c.Established() {
				t.Fatalf("established after %d of %d cases", i, live+gone+stayed)
			}
			switch {
			case i < live:
				c.Agree()
			case i < live+gone:
				c.AgreeGone(false)
			default:
				c.Stay()
			}
		}
		if !c.Established() {
			t.Fatalf("not established: %+v", c)
		}
		if !c.Contradict() || c.Established() || c.Lost != n+1 || c.Contradictions != n+1 {
			t.Fatalf("%+v", c)
		}
	}
	for range 100 {
		c.Contradict()
	}
	if live, _, _ := c.Needed(); live <= 0 {
		t.Error("so many contradictions need nothing")
	}
}

// Whoever lies about one in a hundred is not believed.
func TestLiarsAreNotBelieved(t *testing.T) {
	believed := 0
	rapid.Check(t, func(t *rapid.T) {
		random := rapid.Uint64().Draw(t, "seed")
		next := func() float64 {
			random = random*6364136223846793005 + 1442695040888963407
			return float64(random>>11) / (1 << 53)
		}
		var c Capability
		others := func() { c.Gone, c.Stayed = math.MaxInt, math.MaxInt }
		others()
		for range 20_000 {
			if next() < 0.01 {
				c.Contradict()
				others()
			} else if c.Agree(); c.Established() {
				believed++
				return
			}
		}
	})
	if believed > 1 {
		t.Errorf("%d of 100 liars were believed", believed)
	}
}

func TestWhatFormerSessionsTell(t *testing.T) {
	former := Former{Start: Span{100, 101}, Ended: Span{400, 420}}
	at := 430.0
	for name, c := range map[string]struct {
		reply Reply
		grain float64
		want  Tells
	}{
		"left out":            {Reply{}, 1, TellsLeftOut},
		"as at its end":       {Reply{Told: true, Duration: 310}, 1, TellsStale},
		"cut to minutes":      {Reply{Told: true, Duration: 300}, 60, TellsStale},
		"as if it were there": {Reply{Told: true, Duration: 329}, 1, TellsOnline},
		"another":             {Reply{Told: true, Duration: 7}, 1, TellsNothing},
		"unreadable":          {Reply{Told: true, Duration: -1}, 1, TellsNothing},
	} {
		if c.grain == 60 {
			at = 420 + Rules{Grain: 60}.Wait()
		} else {
			at = 430
		}
		c.reply.Sent, c.reply.Came = at, at+0.2
		if got := (Rules{Grain: c.grain}).Of(former, c.reply); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// An answer that is empty, or lacks half, is not believed; one that lacks some is.
func TestUnbelievableAnswers(t *testing.T) {
	for _, c := range []struct {
		here, away int
		expected   float64
		want       bool
	}{{0, 1, 1, false}, {0, 100, 100, false}, {50, 50, 0.5, false}, {95, 5, 0.1, true}, {50, 50, 40, true}, {1, 0, 0, true}} {
		if got := Believable(c.here, c.away, c.expected); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func TestGrains(t *testing.T) {
	for name, c := range map[string]struct {
		values []int64
		want   float64
	}{
		"seconds":      {[]int64{61, 120, 180, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60}, 1},
		"minutes":      {[]int64{60, 120, 180, 60, 240, 660, 60, 60, 0, 60, 60, 60, 60}, 60},
		"five minutes": {[]int64{300, 600, 900, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300}, 300},
		"all zero":     {make([]int64, 20), 1},
	} {
		var g Grain
		for i, v := range c.values {
			if _, ok := g.Seconds(); ok != (i >= leastSeen) {
				t.Fatalf("%s: settled after %d values: %t", name, i, ok)
			}
			g.See(v)
			g.See(-1)
		}
		if got, _ := g.Seconds(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
