package address

// Grain learns what whole seconds are cut or rounded to. The zero Grain knows nothing.
type Grain struct {
	n    int
	seen int64 // greatest common divisor of what was seen
}

// coarse are the grains that are looked for, in seconds; leastSeen is how many values
// establish one: that all of so many are multiples of a minute is no chance.
const leastSeen = 12

var coarse = [...]int64{3600, 300, 60}

// See takes a value into account, in seconds; a negative one says nothing.
func (g *Grain) See(seconds int64) {
	if seconds < 0 {
		return
	}
	g.n++
	a, b := g.seen, seconds
	for b != 0 {
		a, b = b, a%b
	}
	g.seen = a
}

// Seconds returns the grain: 1, unless all that was seen are multiples of more. ok is
// false while too little was seen.
func (g *Grain) Seconds() (grain float64, ok bool) {
	if g.n < leastSeen {
		return 1, false
	}
	for _, c := range coarse {
		if g.seen > 0 && g.seen%c == 0 {
			return float64(c), true
		}
	}
	return 1, true
}
