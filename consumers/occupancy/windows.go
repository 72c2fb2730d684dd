package occupancy

import (
	"cmp"
	"math"
	"slices"
)

// instants are times in ascending order, in Unix milliseconds.
type instants struct{ at []int64 }

// add inserts one and drops those before the horizon. Events are nearly in the
// order of their times, so the place is found at the end.
func (s *instants) add(at, horizon int64) {
	if at >= horizon {
		i := len(s.at)
		for i > 0 && s.at[i-1] > at && len(s.at)-i < 16 {
			i--
		}
		if i > 0 && s.at[i-1] > at {
			i, _ = slices.BinarySearch(s.at, at)
		}
		s.at = slices.Insert(s.at, i, at)
	}
	i, _ := slices.BinarySearch(s.at, horizon)
	s.at = s.at[i:]
}

// within counts those after from, up to and including to.
func (s *instants) within(from, to int64) int {
	first, _ := slices.BinarySearch(s.at, from+1)
	last, _ := slices.BinarySearch(s.at, to+1)
	return last - first
}

// stays are the latest finished stays: a ring in the order of their ends, since a backfill
// tells of those long ago last, and their lengths sorted, so that a quantile is one look.
type stays struct {
	ring   []stay
	sorted []int32 // seconds
}

type stay struct {
	ended   int64
	seconds int32
}

func (s *stays) add(ended, seconds, horizon int64) {
	for len(s.ring) > 0 && s.ring[0].ended < horizon {
		s.dropFirst()
	}
	if ended < horizon {
		return
	}
	if len(s.ring) >= StaySample {
		if ended < s.ring[0].ended {
			return
		}
		s.dropFirst()
	}
	length := int32(min(seconds, 1<<31-1))
	i, _ := slices.BinarySearch(s.sorted, length)
	s.sorted = slices.Insert(s.sorted, i, length)
	at := len(s.ring)
	for at > 0 && s.ring[at-1].ended > ended {
		at--
	}
	s.ring = slices.Insert(s.ring, at, stay{ended, length})
}

func (s *stays) dropFirst() {
	i, _ := slices.BinarySearch(s.sorted, s.ring[0].seconds)
	s.sorted = slices.Delete(s.sorted, i, i+1)
	s.ring = s.ring[1:]
}

// quantile returns the length, in seconds, that the fraction q of the stays does
// not exceed (nearest rank); zero without stays.
func (s *stays) quantile(q float64) int64 {
	if len(s.sorted) == 0 {
		return 0
	}
	return int64(s.sorted[rank(q, len(s.sorted))])
}

// rank is the index of the nearest-rank quantile among n sorted values.
func rank(q float64, n int) int {
	return min(max(int(math.Ceil(q*float64(n)-1e-9)), 1), n) - 1
}

// steps hold by how much the number online changed in each minute in which it
// did. Counts of past minutes follow from the present one going backwards, so an
// event that becomes known late corrects the curve where it belongs.
type steps struct{ list []step }

type step struct {
	minute int32 // since the Unix epoch
	delta  int32
}

func minuteOf(ms int64) int32 { return int32(ms / 60000) }

func (s *steps) add(at int64, delta int32, horizon int64) {
	minute := minuteOf(at)
	if at >= horizon {
		i := len(s.list)
		if i > 0 && s.list[i-1].minute >= minute {
			i, _ = slices.BinarySearchFunc(s.list, minute, func(e step, m int32) int { return cmp.Compare(e.minute, m) })
		}
		if i < len(s.list) && s.list[i].minute == minute {
			s.list[i].delta += delta
		} else {
			s.list = slices.Insert(s.list, i, step{minute, delta})
		}
	}
	k := 0
	for k < len(s.list) && s.list[k].minute < minuteOf(horizon) {
		k++
	}
	s.list = s.list[k:]
}

// curve returns the count at the end of each minute from first to last, of which
// the last may not have ended yet, given the count now.
func (s *steps) curve(first, last int32, now int) []int {
	if last < first {
		return nil
	}
	counts := make([]int, last-first+1)
	k := len(s.list)
	for m := last; m >= first; m-- {
		for k > 0 && s.list[k-1].minute > m {
			k--
			now -= int(s.list[k].delta)
		}
		counts[m-first] = now
	}
	return counts
}

// delays are the latest waits between a start at the source and the look that
// showed it, in milliseconds.
type delays struct {
	Latest []int64 `json:"latest,omitempty"`
	Next   int     `json:"next,omitempty"`
}

const delaySample = 512

func (d *delays) add(ms int64) {
	if len(d.Latest) < delaySample {
		d.Latest = append(d.Latest, ms)
		return
	}
	d.Latest[d.Next] = ms
	d.Next = (d.Next + 1) % delaySample
}

func (d *delays) quantiles(qs ...float64) []int64 {
	sorted := slices.Sorted(slices.Values(d.Latest))
	out := make([]int64, len(qs))
	for i, q := range qs {
		if n := len(sorted); n > 0 {
			out[i] = sorted[rank(q, n)]
		}
	}
	return out
}
