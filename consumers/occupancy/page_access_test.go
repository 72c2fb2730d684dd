package occupancy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestPageIsAccessible lets axe look at the page, wide and on a phone, in both colour
// schemes, with a location open, with a session's story and with the dialog.
func TestPageIsAccessible(t *testing.T) {
	if os.Getenv("GUESTFLOW_NODE") != "1" {
		t.Skip("needs Node.js and npm's registry; set GUESTFLOW_NODE=1 to run it")
	}
	ctx := browser(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/page")); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(44, 12, 120)
	publish(t, js, v.messages(600, 0)...)
	settings := patientSettings()
	settings.Token = "open sesame"
	_, b := beside(t, Settings{})
	settings.Webhooks, settings.Stories, settings.Alerts = b, b, raisedAlert
	settings.Pipelines = pipelines{{Account: "default", State: "polling", BudgetUsed: 0.9, BudgetPerMinute: 60, LastError: "503 from the platform", LastErrorAt: v.now}}
	s, _ := running(t, js, settings)
	until(t, "live", reaches(s, 600))
	site := &website{t: t, handler: s.Handler()}
	site.start()

	look := func(what string) {
		t.Helper()
		type fault struct {
			Rule, Impact, Help string
			Nodes              []string
		}
		text := evaluate[string](t, ctx, `axe.run().then((r) => JSON.stringify(r.violations.map((v) =>
			({ Rule: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map((n) => n.html.slice(0, 120)) }))))`)
		var faults []fault
		if err := json.Unmarshal([]byte(text), &faults); err != nil {
			t.Fatal(err)
		}
		for _, f := range faults {
			t.Errorf("%s: %s (%s): %s: %q", what, f.Rule, f.Impact, f.Help, f.Nodes)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			}}); err != nil {
				t.Fatal(err)
			}
			do(t, ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate("http://"+site.address+"/"))
			see(t, ctx, "that it is live", `document.getElementById("state").dataset.state === "live" && document.querySelectorAll("#feed li").length > 10`)
			evaluate[bool](t, ctx, string(axe)+"\n;true")
			what := fmt.Sprintf("%s, %d wide", scheme, width)
			look(what)
			do(t, ctx, click("#places li:first-child button"))
			see(t, ctx, "the location", `document.querySelector("#curve path.line") && document.querySelector("#sessions td") !== null`)
			do(t, ctx, click("#endpoints summary"))
			see(t, ctx, "the dead letter", `document.querySelector(".letters li") !== null`)
			look(what + ", with a location")
			do(t, ctx, click("#sessions button"))
			see(t, ctx, "the story", `document.querySelector("#story-list li") !== null`)
			look(what + ", with a story")
			do(t, ctx, click("#story-close"), click("#access"))
			look(what + ", with the dialog")
		}
	}
}

// TestPageInManyTabs: a browser allows six connections to a host over HTTP/1.1, so the
// tabs share one stream.
func TestPageInManyTabs(t *testing.T) {
	ctx := browser(t)
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(45, 2, 9)
	publish(t, js, v.start(), v.start())
	s, _ := running(t, js, patientSettings())
	until(t, "live", reaches(s, 2))
	site := &website{t: t, handler: s.Handler()}
	site.start()
	tabs := tabs(t, ctx, 7)
	for i, tab := range tabs {
		do(t, tab, chromedp.Navigate("http://"+site.address+"/"))
		see(t, tab, fmt.Sprintf("both guests in tab %d", i+1), `document.getElementById("state").dataset.state === "live" && `+online+` === 2 && document.querySelectorAll("#feed li").length === 2`)
	}
	publish(t, js, v.start())
	for i, tab := range tabs {
		see(t, tab, fmt.Sprintf("who came in tab %d", i+1), online+` === 3 && document.querySelectorAll("#feed li").length === 3`)
	}
	if n := s.clients.Load(); n != 1 {
		t.Errorf("%d connections follow the stream for one browser", n)
	}
	// All of them find back when the service does.
	site.stop()
	see(t, tabs[6], "that it is disconnected", `document.getElementById("state-text").textContent === "disconnected"`)
	publish(t, js, v.start())
	site.start()
	for i, tab := range tabs {
		see(t, tab, fmt.Sprintf("the count of now in tab %d", i+1), `document.getElementById("state").dataset.state === "live" && `+online+" === 4")
	}
	for _, tab := range tabs[1:] {
		do(t, tab, chromedp.Navigate("about:blank"))
	}
	publish(t, js, v.start())
	see(t, tabs[0], "who came to the last tab", online+" === 5")
}

// tabs returns n tabs of one browser, of which ctx is the first.
func tabs(t *testing.T, ctx context.Context, n int) []context.Context {
	t.Helper()
	list := []context.Context{ctx}
	for range n - 1 {
		tab, cancel := chromedp.NewContext(ctx)
		t.Cleanup(cancel)
		if err := chromedp.Do(tab); err != nil { // opens it, for as long as tab lives
			t.Fatal(err)
		}
		list = append(list, tab)
	}
	return list
}

// TestPhoneShowsTheLocationFromItsTitle: it opens above the list, wherever in that it was
// tapped.
func TestPhoneShowsTheLocationFromItsTitle(t *testing.T) {
	ctx := browser(t)
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(46, 30, 300)
	publish(t, js, v.messages(600, 0)...)
	s, _ := running(t, js, patientSettings())
	until(t, "live", reaches(s, 600))
	site := &website{t: t, handler: s.Handler()}
	site.start()
	do(t, ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate("http://"+site.address+"/"))
	for _, row := range []string{"last", "first"} {
		see(t, ctx, "the list", `document.querySelectorAll("#places li").length > 20`)
		do(t, ctx, click("#places li:"+row+"-child button"))
		see(t, ctx, "the sessions", `document.querySelector("#sessions td") !== null && document.querySelector("#curve path.line") !== null`)
		see(t, ctx, "the title of the "+row+" location", `(({ top, bottom }) => top >= 0 && bottom < 300)(document.getElementById("detail-title").getBoundingClientRect())`)
		do(t, ctx, click("#detail-close"))
	}
}

// TestCurveOfAShortPast: one sample is a dot, no area of its own, and the axis is as long
// as what was chosen.
func TestCurveOfAShortPast(t *testing.T) {
	ctx := browser(t)
	site := &website{t: t, handler: New(Settings{}).Handler()}
	site.start()
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+site.address+"/"))
	draw := func(minutes int, counts string) (times []string, line string) {
		text := evaluate[string](t, ctx, fmt.Sprintf(`import("./curves.js").then(({ chart }) => {
			const svg = document.getElementById("curve");
			chart(svg, { from: "2026-05-01T12:00:00Z", online: %s }, %d, "Café", document.getElementById("curve-read"));
			return JSON.stringify([[...svg.querySelectorAll("text")].map((n) => n.textContent).filter((s) => s.includes(":")), svg.querySelector("path.line").getAttribute("d")]);
		})`, counts, minutes))
		var out [2]json.RawMessage
		for i, into := range []any{&times, &line} {
			if err := json.Unmarshal([]byte(text), &out); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(out[i], into); err != nil {
				t.Fatal(err)
			}
		}
		return times, line
	}
	for minutes, most := range map[int]string{60: "10", 360: "60", 1440: "240"} {
		times, line := draw(minutes, "[7]")
		if !strings.HasSuffix(line, "h0") || strings.Contains(line, "L") {
			t.Errorf("one sample in %d min is drawn as %s", minutes, line)
		}
		first, last := minuteOfDay(t, times[0]), minuteOfDay(t, times[len(times)-1])
		if span := (last - first + 1440) % 1440; span < minutes/2 {
			t.Errorf("%d min: the axis goes from %s to %s (steps of at most %s min)", minutes, times[0], times[len(times)-1], most)
		}
	}
	if _, line := draw(60, "[7,8,9]"); strings.Count(line, "L") != 2 {
		t.Errorf("three samples are drawn as %s", line)
	}
}

func minuteOfDay(t *testing.T, text string) int {
	t.Helper()
	at, err := time.Parse("15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return at.Hour()*60 + at.Minute()
}
