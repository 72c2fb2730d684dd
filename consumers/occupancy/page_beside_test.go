package occupancy

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/guestflow/guestflow/events/visits"
)

// TestPageShowsWhatIsBeside: visits of today, alerts, webhooks with their dead letters, the
// usual week, and a session's story, each reached by keyboard; and all of a group alone.
func TestPageShowsWhatIsBeside(t *testing.T) {
	ctx := browser(t)
	s, b := beside(t, Settings{Heartbeat: 15 * time.Second, Groups: groupsFile(t, countryGroups)})
	cells := make([]float32, weekHours) // seen for three weeks
	for h := range cells {
		cells[h] = float32(h)
	}
	s.state.accounts["default"].areas["loc-00"].week = week{epoch.AddDate(0, 0, -21).UnixMilli(), cells}
	s.visits.day.take(visit("c", "loc-00", epoch, visits.Yes, 1), epoch)
	site := &website{t: t, handler: s.Handler()}
	site.start()
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+site.address+"/"))
	see(t, ctx, "today's visits", `document.getElementById("total-visits").textContent === "3" && document.getElementById("total-firsts").textContent === "2"`)
	see(t, ctx, "an alert", `document.getElementById("alerts-list").textContent.includes("40 devices, usually 12.5")`)
	see(t, ctx, "an endpoint's last error", `document.getElementById("endpoints").textContent.includes("503 Service Unavailable")`)

	do(t, ctx, chromedp.Focus(chromedp.CSS("#alerts-list button")), chromedp.KeyEvent(kb.Enter))
	see(t, ctx, "the alert's location", `document.getElementById("detail-title").textContent === "Café 00"`)
	see(t, ctx, "its usual week", `document.querySelectorAll("#week .cell").length === 168 && document.querySelector("#curve .usual") !== null`)
	do(t, ctx, chromedp.Focus(chromedp.CSS("#week")), chromedp.KeyEvent(kb.ArrowDown))
	see(t, ctx, "an hour of it by keyboard", `/: usually [\d.]+ online$/.test(document.getElementById("week-read").textContent)`)

	do(t, ctx, click("#endpoints summary"))
	see(t, ctx, "its dead letter", `document.querySelector(".letters").textContent.includes("422 Unprocessable")`)
	do(t, ctx, chromedp.Focus(chromedp.CSS(".letters button")), chromedp.KeyEvent(kb.Enter))
	see(t, ctx, "that it was sent again", `document.querySelector("#endpoints details .note").textContent === "1 event was taken."`)
	if len(b.sent) != 1 || b.sent[0] != "crm7" {
		t.Errorf("sent again: %q", b.sent)
	}

	do(t, ctx, chromedp.Focus(chromedp.CSS("#sessions button")), chromedp.KeyEvent(kb.Enter))
	see(t, ctx, "the session's story, masked", `document.getElementById("story").open && document.getElementById("story-list").textContent.includes("•••")`)
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	see(t, ctx, "that it closes", `!document.getElementById("story").open && document.activeElement.closest("#sessions") !== null`)

	do(t, ctx, fill("#group", "south"))
	see(t, ctx, "the group's location alone", `document.querySelectorAll("#places li").length === 1 && document.querySelector("#places .name").textContent.startsWith("Café 01")`)
	see(t, ctx, "its visits and alerts alone", `document.getElementById("total-visits").textContent === "1" && document.getElementById("alerts-note").textContent === "None is open."`)
}
