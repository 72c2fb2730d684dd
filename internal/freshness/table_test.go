package freshness

import (
	"math"
	"testing"
)

// Ratios are taken on the same traces, in whatever order the runs were through, and one of
// them has no error.
func TestErrorOfARatio(t *testing.T) {
	row := func(seed uint64, mean float64) Row { return Row{seed: seed, AllMean: mean} }
	lists := []Row{row(3, 10), row(1, 20), row(2, 40)}
	for _, c := range []struct {
		rows []Row
		want float64
	}{
		{[]Row{row(1, 22), row(2, 40), row(3, 9)}, 0.1 / math.Sqrt(3)}, // 1.1, 1 and 0.9
		{[]Row{row(2, 44), row(3, 11), row(1, 22)}, 0},
		{[]Row{row(1, 30)}, 0},
		{nil, 0},
	} {
		if got := ratioError(c.rows, lists); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: %v, want %v", c.rows, got, c.want)
		}
	}
}
