package budget

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkRequest is what a budget costs each request: it does not grow with the
// limit.
func BenchmarkRequest(b *testing.B) {
	for _, limit := range []int{60, 12_000, 100_000} {
		b.Run(fmt.Sprint(limit, " a minute"), func(b *testing.B) {
			now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
			budget := New(limit, nil, now)
			for b.Loop() {
				ended, at := budget.Take(now)
				for ended == nil {
					now = at
					ended, at = budget.Take(now)
				}
				budget.Used(now)
				ended(now.Add(time.Millisecond), true)
			}
		})
	}
}
