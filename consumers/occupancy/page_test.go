package occupancy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/guestflow/guestflow/internal/blackhole"
)

// browser starts Chromium. GUESTFLOW_NO_BROWSER=1 says that there is none and
// that this is meant; without it a missing browser fails the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("GUESTFLOW_NO_BROWSER") == "1" {
		t.Skip("GUESTFLOW_NO_BROWSER=1: the page is not tested")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("the page is tested in Chromium, which is not installed: apt-get install chromium, or set GUESTFLOW_NO_BROWSER=1 to go without this test")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WSURLReadTimeout(60*time.Second))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", path, err)
	}
	var wait sync.WaitGroup
	console := chromedp.Console(ctx)
	wait.Go(func() {
		for m, err := range console {
			// A lost connection is logged by the browser, and is meant here.
			if err == nil && (m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleException) &&
				!strings.Contains(m.Text, "ERR_") && !strings.Contains(m.Text, "status of 401") && !strings.Contains(m.Text, "status of 503") {
				t.Errorf("the browser complains: %s", m.Text)
			}
		}
	})
	t.Cleanup(func() { cancel(); wait.Wait() })
	return ctx
}

// website serves a handler at one address, and can be stopped and started.
type website struct {
	t       *testing.T
	handler http.Handler
	address string
	server  *http.Server
}

func (w *website) start() {
	w.t.Helper()
	address := w.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.address = l.Addr().String()
	w.server = &http.Server{Handler: w.handler, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = w.server.Serve(l) }() // ends with stop
	w.t.Cleanup(w.stop)
}

func (w *website) stop() { _ = w.server.Close() }

// see waits until a JavaScript expression is true in the page.
func see(t *testing.T, ctx context.Context, what, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond))); err != nil {
		t.Fatalf("the page does not show %s: %v", what, err)
	}
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// evaluate returns the value of a JavaScript expression.
func evaluate[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// fill sets what a field holds, and tells the page.
func fill(selector, value string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{
		const field = document.querySelector(%q);
		field.value = %q;
		for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind));
	}`, selector, value))
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// shoot writes a screenshot to the directory that GUESTFLOW_SCREENSHOTS names.
func shoot(t *testing.T, ctx context.Context, name string, width, height int64, scheme string) {
	t.Helper()
	dir := os.Getenv("GUESTFLOW_SCREENSHOTS")
	if dir == "" {
		return
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.EmulateViewport(width, height))
	evaluate[bool](t, ctx, `new Promise((go) => setTimeout(() => requestAnimationFrame(() => go(true)), 50))`)
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

// patientSettings are those of a page that is silent for as long as in production: under
// load a browser would take a heartbeat that is a little late for a dead connection.
func patientSettings() Settings {
	settings := quickSettings()
	settings.Heartbeat = 15 * time.Second
	return settings
}

const online = `Number(document.getElementById("total-online").textContent.replace(/\D/g, ""))`

func TestPageInChromium(t *testing.T) {
	ctx := browser(t)
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(41, 24, 260)
	publish(t, js, v.messages(2400, 1500*time.Millisecond)...)
	settings := patientSettings()
	settings.Token = "open sesame"
	settings.Pipelines = pipelines{{
		Account: "default", State: "polling", BudgetUsed: 0.97, BudgetPerMinute: 60, StalenessSeconds: 14.2,
		DelayP50Seconds: 3.4, DelayP95Seconds: 9.1, LastError: "GET /sessions: 503 from the platform; trying again in 2 s", LastErrorAt: v.now.Add(-3 * time.Minute),
	}}
	s, _ := running(t, js, settings)
	until(t, "live", reaches(s, 2400))
	site := &website{t: t, handler: s.Handler()}
	site.start()

	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+site.address+"/"))
	see(t, ctx, "that it is live", `document.getElementById("state").dataset.state === "live"`)
	see(t, ctx, "every location", `document.querySelectorAll("#places li").length === 24`)
	see(t, ctx, "the feed", `document.querySelectorAll("#feed li").length > 10`)

	before := evaluate[int](t, ctx, online)
	if before != len(v.online) {
		t.Errorf("the page shows %d online, there are %d", before, len(v.online))
	}
	for range 5 {
		publish(t, js, v.start())
	}
	see(t, ctx, "that counts move", online+" === "+strconv.Itoa(before+5))
	see(t, ctx, "that the feed moves", `document.querySelector("#feed li .kind").textContent.match(/started|discovered/) !== null`)

	do(t, ctx, click("#places li:first-child button"))
	see(t, ctx, "the location's curve", `document.querySelector("#curve path.line") !== null`)
	see(t, ctx, "its sessions, masked", `/^(•••|–)/.test((document.querySelector("#sessions td") || {}).textContent)`)
	do(t, ctx, chromedp.Focus(chromedp.CSS("#curve")), chromedp.KeyEvent(kb.ArrowLeft))
	see(t, ctx, "a point of the curve by keyboard", `/online$/.test(document.getElementById("curve-read").textContent)`)

	shoot(t, ctx, "light", 1280, 900, "light")
	shoot(t, ctx, "dark", 1280, 900, "dark")
	shoot(t, ctx, "phone", 390, 844, "light")
	shoot(t, ctx, "phone-dark", 390, 844, "dark")
	do(t, ctx, chromedp.EmulateViewport(360, 740))
	if evaluate[bool](t, ctx, `document.documentElement.scrollWidth > innerWidth`) {
		t.Error("the page is wider than a phone")
	}
	do(t, ctx, chromedp.EmulateViewport(1280, 900))

	// Search, sort and filters.
	do(t, ctx, fill("#search", "café 07"))
	see(t, ctx, "one match", `document.querySelectorAll("#places li").length === 1`)
	do(t, ctx, fill("#search", ""), fill("#sort", "name"))
	see(t, ctx, "the order of names", `document.querySelector("#places .name").textContent === "Café 00"`)
	do(t, ctx, click(`#kinds input[value="traffic"] + span`))
	see(t, ctx, "traffic too", `[...document.querySelectorAll("#feed .kind")].some((k) => k.textContent === "traffic")`)

	// A token shows personal data; a wrong one does not.
	do(t, ctx, click("#access"), chromedp.SendKeys(chromedp.CSS("#token"), "wrong\r"))
	see(t, ctx, "that the token is wrong", `document.getElementById("token-error").textContent.includes("not the token")`)
	do(t, ctx, fill("#token", "open sesame"), click("#token-use"))
	see(t, ctx, "whole addresses", `/^02:00:/.test(([...document.querySelectorAll("#sessions small")].find((n) => n.textContent) || {}).textContent)`)

	// The service goes away, and comes back with another count.
	site.stop()
	see(t, ctx, "that it is disconnected", `document.getElementById("state-text").textContent === "disconnected" && !document.getElementById("banner").hidden`)
	shoot(t, ctx, "disconnected", 1280, 900, "light")
	before = evaluate[int](t, ctx, online)
	for range 3 {
		publish(t, js, v.start())
	}
	site.start()
	see(t, ctx, "that it is live again", `document.getElementById("state").dataset.state === "live" && document.getElementById("banner").hidden`)
	see(t, ctx, "the count of now", online+" === "+strconv.Itoa(before+3))
}

// TestPageLeavesAConnectionThatHasDied: where a NAT or firewall has forgotten the page's
// connections, it notices by the missing heartbeats, and goes on over new ones.
func TestPageLeavesAConnectionThatHasDied(t *testing.T) {
	ctx := browser(t)
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(43, 1, 9)
	publish(t, js, v.start())
	settings := quickSettings()
	settings.Heartbeat = time.Second
	s, _ := running(t, js, settings)
	until(t, "live", reaches(s, 1))
	site := &website{t: t, handler: s.Handler()}
	site.start()
	hole, err := blackhole.To(site.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hole.Close)
	do(t, ctx, chromedp.Navigate("http://"+hole.Address()+"/"))
	see(t, ctx, "the guest", `document.getElementById("state").dataset.state === "live" && `+online+" === 1")
	hole.Forget()
	publish(t, js, v.start())
	see(t, ctx, "who came meanwhile", `document.getElementById("state").dataset.state === "live" && `+online+" === 2")
	publish(t, js, v.start())
	see(t, ctx, "what comes after", online+" === 3")
}

func TestEmptyPageSaysWhy(t *testing.T) {
	ctx := browser(t)
	js := connect(t, startServer(t, t.TempDir(), -1))
	s, _ := running(t, js, quickSettings())
	site := &website{t: t, handler: s.Handler()}
	site.start()
	until(t, "the missing stream is noticed", func() bool { return s.Status().Error != "" })
	// A link that was cut off in the middle of an escape is no reason to stay blank.
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+site.address+"/#default/caf%C3%"))
	see(t, ctx, "that it waits for the stream", `document.getElementById("state-text").textContent === "reading the stream…"`)
	shoot(t, ctx, "waiting", 1280, 900, "light")
	makeStream(t, js)
	see(t, ctx, "that nothing happened yet", `document.getElementById("places-note").textContent.startsWith("No location has been seen yet")`)
	shoot(t, ctx, "empty", 1280, 900, "light")
	publish(t, js, newVenue(42, 1, 3).start())
	see(t, ctx, "the first guest", online+" === 1")
}
