package plan

import "testing"

// Where pages are worth more than final figures, no look at the locations, and no first
// decision, has ends wait for these: the price begins at what looks bring, and stays there.
func TestPriceIsThatOfLooks(t *testing.T) {
	track, now := askingTrack(600, func(int) float64 { return 1. / 2700 }, func(i int) float64 { return float64(i) / 60 })
	track.Rates.Pass(now, 600)
	v := &View{Budget: 1, Online: 600, Rates: track.Rates, Track: track, Ordered: true, Placed: func(*Row) bool { return true }}
	var a Adaptive
	for turn := range 40 {
		v.Turn, v.DiscoveryDue = turn, turn == 20
		d := a.Next(now.Add(seconds(float64(turn)/10)), v)
		if d.Price < FiguresWorth {
			t.Errorf("decision %d, %s: ends wait for figures at %.2f, though a page is worth %.2f", turn, d.Kind, d.Price, a.pages.gain())
		}
	}
}
