package platform

import (
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

// exchangeAt feeds c the answer that a platform whose clock is ahead by offset
// gives to a request sent at sent, dated after there and received after there+back.
func exchangeAt(c *Clock, sent time.Time, there, back, offset time.Duration) (received time.Time) {
	received = sent.Add(there + back)
	c.Sample(sent, received, sent.Add(there+offset).Truncate(time.Second))
	return received
}

func bounds(c *Clock) (low, high time.Duration) {
	from, to := c.Bounds(noon)
	return from.Sub(noon), to.Sub(noon)
}

func TestClockStartsWithoutKnowledge(t *testing.T) {
	var c Clock
	if low, high := bounds(&c); low != 0 || high != 0 {
		t.Errorf("%v to %v", low, high)
	}
	if offset, known := c.Offset(); offset != 0 || known {
		t.Errorf("%v %t", offset, known)
	}
}

// TestTrueOffsetIsAlwaysWithinBounds holds whatever the delays and pauses.
func TestTrueOffsetIsAlwaysWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		offset := time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "offset"))
		delay := rapid.Int64Range(0, 20e9)
		now := noon
		for range rapid.IntRange(1, 50).Draw(t, "answers") {
			now = now.Add(time.Duration(delay.Draw(t, "pause")))
			now = exchangeAt(&c, now, time.Duration(delay.Draw(t, "there")), time.Duration(delay.Draw(t, "back")), offset)
			if low, high := bounds(&c); low > offset || offset > high {
				t.Fatalf("true offset %v, bounds %v to %v", offset, low, high)
			}
			if middle, known := c.Offset(); !known || middle < offset-41*time.Second || middle > offset+41*time.Second {
				t.Fatalf("true offset %v, estimate %v", offset, middle)
			}
		}
	})
}

func TestBoundsNarrowWithEachAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		offset := time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "offset"))
		const delay = 10 * time.Millisecond
		width := func() time.Duration {
			low, high := bounds(&c)
			return high - low
		}
		now, before := noon, time.Duration(0)
		for i := range 100 {
			// Steps of 0.37 s meet every part of the platform's second.
			now = exchangeAt(&c, now.Add(370*time.Millisecond-2*delay), delay, delay, offset)
			if i > 0 && width() > before+2*creep {
				t.Fatalf("answer %d widened the bounds from %v to %v", i, before, width())
			}
			before = width()
		}
		// The parts of the second are 10 ms apart.
		if most := 2*delay + 10*time.Millisecond + 200*creep; before > most {
			t.Fatalf("still %v wide after 100 answers, want %v at most", before, most)
		}
	})
}

// TestClockRecoversAfterAStep: at once, and after one that is larger than a clock is set by
// as a rule once all answers have said so for a while.
func TestClockRecoversAfterAStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		old := time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "old"))
		step := time.Duration(rapid.Int64Range(2e9, 1e13).Draw(t, "step"))
		doubted, either := step > doubtful+2*time.Second, step > doubtful-2*time.Second
		if rapid.Bool().Draw(t, "back") {
			step = -step
		}
		now := noon
		for range 20 {
			now = exchangeAt(&c, now.Add(370*time.Millisecond), time.Millisecond, time.Millisecond, old)
		}
		stepped := now
		for i := range 1000 {
			now = exchangeAt(&c, now.Add(370*time.Millisecond), time.Millisecond, time.Millisecond, old+step)
			want := old + step
			switch passed := now.Sub(stepped); {
			case doubted && passed < believed:
				want = old
			case either && passed < believed+time.Second:
				continue
			}
			if low, high := bounds(&c); low > want || want > high {
				t.Fatalf("%d answers after a step of %v: bounds %v to %v, want %v within", i+1, step, low, high, want)
			}
		}
	})
}

// TestWrongDatesAreNotBelieved: of a server among several whose clock is off by hours, or
// of one answer that a cache has kept.
func TestWrongDatesAreNotBelieved(t *testing.T) {
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour, 70_000 * time.Hour, 3 * time.Minute} {
		var c Clock
		now := noon
		for i := range 4000 { // 25 minutes
			offset := time.Duration(0)
			if i >= 10 && i%3 == 0 {
				offset = off
			}
			now = exchangeAt(&c, now.Add(370*time.Millisecond), time.Millisecond, time.Millisecond, offset)
			if low, high := bounds(&c); low > 0 || high < 0 {
				t.Fatalf("answer %d: bounds %v to %v while every third answer is %v off", i, low, high, off)
			}
		}
	}
	// Before anything is known for sure, the second answer corrects the first.
	var c Clock
	now := exchangeAt(&c, noon, time.Millisecond, time.Millisecond, 24*time.Hour)
	exchangeAt(&c, now, time.Millisecond, time.Millisecond, 0)
	if low, high := bounds(&c); low > 0 || high < 0 {
		t.Errorf("bounds %v to %v after a first answer that was wrong", low, high)
	}
}

// TestSleepOfTheMachineIsFollowed: its monotonic clock stood still, and the other one agrees
// with the platform's.
func TestSleepOfTheMachineIsFollowed(t *testing.T) {
	const offset, slept = 17 * time.Minute, 7 * time.Hour
	var c Clock
	began := time.Now()
	date := func(d time.Duration) time.Time { return began.Add(d + offset).Round(0).Truncate(time.Second) }
	for i := range 10 {
		d := time.Duration(i) * 370 * time.Millisecond
		c.Sample(began.Add(d), began.Add(d+time.Millisecond), date(d))
	}
	awake := set(began.Add(5*time.Second), slept)
	c.Sample(awake, set(began.Add(5*time.Second+time.Millisecond), slept), date(5*time.Second+slept))
	truth := began.Add(5*time.Second + slept + offset).Round(0)
	if earliest, latest := c.Bounds(awake); earliest.After(truth) || latest.Before(truth) {
		t.Errorf("%v to %v, want %v within", earliest, latest, truth)
	}
}

// TestClockFollowsASmallStep: one within the bounds' width shows only once answers
// contradict; then the true offset is back within.
func TestClockFollowsASmallStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		step := time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(t, "step"))
		now := noon
		for i := range 600 {
			offset := time.Duration(0)
			if i >= 100 {
				offset = step
			}
			now = exchangeAt(&c, now.Add(370*time.Millisecond), time.Millisecond, time.Millisecond, offset)
		}
		if low, high := bounds(&c); low > step || step > high {
			t.Fatalf("500 answers after a step of %v: bounds %v to %v", step, low, high)
		}
	})
}

func TestOneWrongDateIsForgotten(t *testing.T) {
	var c Clock
	now := noon
	for range 10 {
		now = exchangeAt(&c, now.Add(370*time.Millisecond), time.Millisecond, time.Millisecond, 0)
	}
	now = exchangeAt(&c, now, time.Millisecond, time.Millisecond, 90*time.Second)
	exchangeAt(&c, now, time.Millisecond, time.Millisecond, 0)
	if low, high := bounds(&c); low > 0 || high < 0 || high-low > 1100*time.Millisecond {
		t.Errorf("%v to %v", low, high)
	}
}

func TestAnswerAcrossALocalStepIsLeftOut(t *testing.T) {
	var c Clock
	c.Sample(noon, noon.Add(-time.Minute), noon)
	if _, known := c.Offset(); known {
		t.Error("an answer that came before it was asked for counts")
	}
	exchangeAt(&c, noon, time.Millisecond, time.Millisecond, 0)
	low, high := bounds(&c)
	c.Sample(noon, noon.Add(-time.Minute), noon)
	if l, h := bounds(&c); l != low || h != high {
		t.Errorf("%v to %v became %v to %v", low, high, l, h)
	}
}

// set is a reading of the local clock as it would be had somebody set it ahead. There
// is no way to make one but in a time's own form: 33 bits of seconds before 30 of
// nanoseconds.
func set(t time.Time, ahead time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t))
	*wall += uint64(ahead/time.Second) << 30
	return t
}

// TestSettingTheLocalClockChangesNothing, neither of what is seen after it, nor of what
// was before, nor while an answer is under way.
func TestSettingTheLocalClockChangesNothing(t *testing.T) {
	const offset = 17 * time.Minute
	for _, ahead := range []time.Duration{5 * time.Second, -5 * time.Second, 25 * time.Hour, -time.Hour} {
		var c Clock
		began := time.Now() // with a monotonic reading, from which the others are made
		at := func(d time.Duration) time.Time { return began.Add(d) }
		date := func(d time.Duration) time.Time { return at(d + offset).Round(0).Truncate(time.Second) }
		holds := func(when string, local time.Time, d time.Duration) {
			t.Helper()
			earliest, latest := c.Bounds(local)
			if truth := at(d + offset).Round(0); earliest.After(truth) || latest.Before(truth) || latest.Sub(earliest) > 1200*time.Millisecond {
				t.Errorf("%v: %s, %v to %v, want %v within", ahead, when, earliest, latest, truth)
			}
		}
		c.Sample(at(0), at(100*time.Millisecond), date(50*time.Millisecond))
		before := at(9 * time.Second)
		holds("before", before, 9*time.Second)
		c.Sample(at(10*time.Second), set(at(10*time.Second+100*time.Millisecond), ahead), date(10*time.Second+50*time.Millisecond))
		holds("under way", set(at(10*time.Second+100*time.Millisecond), ahead), 10*time.Second+100*time.Millisecond)
		holds("after", set(at(11*time.Second), ahead), 11*time.Second)
		c.Sample(set(at(12*time.Second), ahead), set(at(12*time.Second+100*time.Millisecond), ahead), date(12*time.Second+50*time.Millisecond))
		holds("after an answer", set(at(13*time.Second), ahead), 13*time.Second)
		holds("what was seen before", before, 9*time.Second)
	}
}
