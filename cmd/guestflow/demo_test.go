package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/guestflow/guestflow/events"
)

// shownDemo is a demo in a process of its own, as a person starts it.
type shownDemo struct {
	t    *testing.T
	cmd  *exec.Cmd
	page string // as it told it
	read sync.WaitGroup
}

// startDemo returns when it has told the page's address.
func startDemo(t *testing.T, variables ...string) *shownDemo {
	t.Helper()
	d := &shownDemo{t: t, cmd: exec.Command(os.Args[0], "demo", "--speed", "60")}
	d.cmd.Env = append(append(os.Environ(), actAs+"=guestflow", "TMPDIR="+t.TempDir()), variables...)
	d.cmd.Stderr = t.Output()
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.cmd.Process.Kill(); d.end() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if page, ok := strings.CutPrefix(lines.Text(), "page "); ok {
			d.page = strings.TrimSpace(page)
			break
		}
	}
	if d.page == "" {
		t.Fatal("the demo tells no page")
	}
	d.read.Go(func() { _, _ = io.Copy(io.Discard, out) }) // ends with the process
	return d
}

// stop ends it as Ctrl-C does.
func (d *shownDemo) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		d.t.Fatal(err)
	}
	if err := d.end(); err != nil {
		d.t.Errorf("the demo ended with %v", err)
	}
}

func (d *shownDemo) end() error {
	d.read.Wait()
	return d.cmd.Wait()
}

// chromium starts the browser. GUESTFLOW_NO_BROWSER=1 says that there is none and
// that this is meant.
func chromium(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("GUESTFLOW_NO_BROWSER") == "1" {
		t.Skip("GUESTFLOW_NO_BROWSER=1: the demo's page is not tested")
	}
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}
	i := slices.IndexFunc(names, func(name string) bool { _, err := exec.LookPath(name); return err == nil })
	if i < 0 {
		t.Fatal("Chromium is not installed: apt-get install chromium, or set GUESTFLOW_NO_BROWSER=1 to go without this test")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(names[i]), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(time.Minute))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", names[i], err)
	}
	return ctx
}

// TestDemoShowsWhatHappens: the page whose address the demo prints moves, says
// when the demo is gone, and goes on with the next one.
func TestDemoShowsWhatHappens(t *testing.T) {
	t.Parallel()
	ctx := chromium(t)
	addr := "GUESTFLOW_HTTP_ADDR=" + free(t)
	d := startDemo(t, addr, "GUESTFLOW_NATS_LISTEN=127.0.0.1:0")
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	see := func(what, expression string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
			t.Fatalf("the page does not show %s: %v", what, err)
		}
	}
	do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(d.page))
	const (
		online = `Number(document.getElementById("total-online").textContent.replace(/\D/g, ""))`
		newest = `(document.querySelector("#feed li") || {}).textContent`
		state  = `document.getElementById("state").dataset.state`
	)
	moves := func(when string) {
		t.Helper()
		see("that it is live "+when, state+` === "live" && document.getElementById("banner").hidden`)
		see("locations "+when, `document.querySelectorAll("#places li").length > 1 && `+online+` > 0`)
		see("a count that moves "+when, fmt.Sprintf(`(window.seen ??= %s) !== %s`, online, online))
		see("a feed that moves "+when, fmt.Sprintf(`(window.told ??= %s) !== %s`, newest, newest))
		do(chromedp.Evaluate[chromedp.Void](`{ delete window.seen; delete window.told }`))
	}
	moves("at first")
	see("the pipeline's health", `/polling/.test(document.body.textContent)`)
	see("visits of today", `document.getElementById("total-visits").textContent > 0`)
	see("the endpoints of its webhooks", `/welcome · (idle|delivering)[^]*loyalty · /.test(document.getElementById("endpoints").textContent)`)
	do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#feed button").click()`))
	see("a session's story", `/as sequence \d+/.test(document.getElementById("story-list").textContent)`)
	d.stop()
	see("that it is disconnected", `document.getElementById("state-text").textContent === "disconnected" && !document.getElementById("banner").hidden`)
	startDemo(t, addr, "GUESTFLOW_NATS_LISTEN=127.0.0.1:0")
	moves("after a restart")
}

// TestDemoSendsWebhooks: with nothing but an endpoints file, and in the way that
// the README says.
func TestDemoSendsWebhooks(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan events.Event)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender is gone
		}
		e, decodeErr := events.Decode(body)
		if err := wh.Verify(body, r.Header); err != nil || decodeErr != nil || e.Kind != events.Started || r.Header.Get("webhook-id") != e.ID {
			t.Errorf("a request that is no signed arrival: %v, %v, %s", err, decodeErr, body)
		}
		select {
		case arrived <- e:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(receiver.Close)
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	text := "endpoints:\n  - {name: crm, url: " + receiver.URL + ", secrets: [" + secret + "], kinds: [started], allow_private: true}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startDemo(t, "GUESTFLOW_HTTP_ADDR=127.0.0.1:0", "GUESTFLOW_NATS_LISTEN=127.0.0.1:0", "GUESTFLOW_WEBHOOKS_FILE="+file)
	guests := map[string]bool{}
	for len(guests) < 3 {
		select {
		case e := <-arrived:
			guests[e.Data.Session.GuestID] = true
		case <-time.After(2 * time.Minute):
			t.Fatalf("%d guests were welcomed", len(guests))
		}
	}
}
