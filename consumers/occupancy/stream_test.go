package occupancy

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// received is one server-sent message.
type received struct{ event, id, data string }

// listener reads an open stream.
type listener struct {
	lines  *bufio.Scanner
	close  func()
	status int
}

func listen(t testing.TB, base, path string, headers ...string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(w.Body)
	lines.Buffer(nil, 1<<24)
	l := &listener{lines: lines, status: w.StatusCode, close: func() { cancel(); _ = w.Body.Close() }}
	t.Cleanup(l.close)
	return l
}

// next returns the next message that is no heartbeat; ok is false at the end.
func (l *listener) next() (m received, ok bool) {
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "event":
			m.event = value
		case "id":
			m.id = value
		case "data":
			m.data = value
		case "":
			if m.event != "" {
				return m, true
			}
		}
	}
	return m, false
}

// until returns the next message of a kind.
func (l *listener) until(t testing.TB, event string) received {
	t.Helper()
	for {
		m, ok := l.next()
		if !ok {
			t.Fatalf("the stream ended before a message %q: %v", event, l.lines.Err())
		}
		if m.event == event {
			return m
		}
	}
}

// firstMessages returns the text of the first n messages.
func firstMessages(t testing.TB, h http.Handler, path string, n int, headers ...string) string {
	t.Helper()
	web := httptest.NewServer(h)
	defer web.Close()
	l := listen(t, web.URL, path, headers...)
	defer l.close()
	if l.status != http.StatusOK {
		return ""
	}
	var text strings.Builder
	for range n {
		m, _ := l.next()
		fmt.Fprintln(&text, m.event, m.data)
	}
	return text.String()
}

func serve(t testing.TB, s *Service) string {
	t.Helper()
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return web.URL
}

func TestStreamResumesWithoutLossOrRepeat(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(31, 3, 40)
	// Of 1,500 events the process keeps the last few, so that a resume has to
	// read from the stream, then from the process, then live ones.
	settings := quickSettings()
	settings.FeedBytes = 160 << 10
	publish(t, js, v.messages(1500, time.Second)...)
	s, stop := running(t, js, settings)
	until(t, "live", reaches(s, 1500))
	base := serve(t, s)

	var got []string
	last := "0"
	read := func(n int) {
		l := listen(t, base, "/v1/stream", "Last-Event-ID", last)
		for range n {
			m := l.until(t, "session")
			got, last = append(got, m.id), m.id
		}
		l.close()
	}
	for _, n := range []int{1, 2, 500, 700, 290} {
		read(n)
	}
	publish(t, js, v.messages(40, time.Second)...)
	read(30)
	stop() // another process goes on with the same ids
	s, _ = running(t, js, settings)
	until(t, "live", reaches(s, 1540))
	base = serve(t, s)
	read(17)

	epoch := s.Status().Epoch
	for i, id := range got {
		if want := fmt.Sprintf("%d.%s", i+1, epoch); id != want {
			t.Fatalf("message %d has id %s, want %s", i+1, id, want)
		}
	}
	if len(got) != 1540 {
		t.Errorf("%d messages, want 1540", len(got))
	}
}

func TestStreamTellsOfAGap(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	stream := makeStream(t, js)
	publish(t, js, newVenue(32, 2, 20).messages(900, time.Second)...)
	settings := quickSettings()
	settings.FeedBytes = 20 << 10
	s, _ := running(t, js, settings)
	until(t, "live", reaches(s, 900))
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(101)); err != nil {
		t.Fatal(err)
	}
	l := listen(t, serve(t, s), "/v1/stream", "Last-Event-ID", "50")
	if m := l.until(t, "gap"); !strings.Contains(m.data, `"from":51,"to":100`) {
		t.Errorf("gap %s", m.data)
	}
	if m := l.until(t, "session"); !strings.HasPrefix(m.id, "101.") {
		t.Errorf("goes on at %s", m.id)
	}
}

func TestStreamOfAnotherEpochIsReset(t *testing.T) {
	s := filled(t, Settings{}, newVenue(33, 2, 20).messages(30, time.Second))
	l := listen(t, serve(t, s), "/v1/stream", "Last-Event-ID", "7.other")
	l.until(t, "reset")
}

func TestStreamFiltersByKindAndLocation(t *testing.T) {
	list := newVenue(34, 4, 30).messages(400, time.Second)
	s := filled(t, Settings{}, list)
	base := serve(t, s)
	for path, match := range map[string]func(m Message) bool{
		"kind=ended":               func(m Message) bool { return m.Event.Kind == "ended" },
		"kind=started,traffic":     func(m Message) bool { return m.Event.Kind == "started" || m.Event.Kind == "traffic" },
		"location=loc-02":          func(m Message) bool { return touches(m, "loc-02") },
		"account=none":             func(Message) bool { return false },
		"location=loc-01&kind=all": nil,
	} {
		if match == nil {
			if l := listen(t, base, "/v1/stream?"+path); l.status != http.StatusBadRequest {
				t.Errorf("%s: status %d", path, l.status)
			}
			continue
		}
		var want, got []string
		for _, m := range list {
			if match(m) {
				want = append(want, fmt.Sprintf("%d.e1", m.Sequence))
			}
		}
		l := listen(t, base, "/v1/stream?last_event_id=0.e1&"+path)
		for range want {
			got = append(got, l.until(t, "session").id)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v\nwant %v", path, got, want)
		}
		l.close()
	}
}

func touches(m Message, location string) bool {
	p := m.Event.Data.Previous
	return m.Event.Data.Session.LocationID == location || p != nil && p.LocationID != nil && *p.LocationID == location
}

func TestOccupancyChangesArePushed(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(35, 1, 20)
	publish(t, js, v.start())
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 1))
	base := serve(t, s)
	all, one := listen(t, base, "/v1/stream"), listen(t, base, "/v1/stream?location=loc-00")
	none := listen(t, base, "/v1/stream?location=elsewhere&kind=ended")
	all.until(t, "status")
	one.until(t, "status")
	none.until(t, "status")
	for range 4 {
		publish(t, js, v.start())
	}
	for _, l := range []*listener{all, one} {
		for {
			m := decode[locationsAnswer](t, []byte(l.until(t, "occupancy").data))
			if len(m.Locations) == 1 && m.Locations[0].Online == 5 {
				break
			}
		}
	}
	s.announce() // a marker: nothing of the other location came before it
	if m, ok := none.next(); !ok || m.event != "status" {
		t.Errorf("a client of another location got %+v", m)
	}
}

func TestSilentClientHearsHeartbeats(t *testing.T) {
	s := filled(t, Settings{Heartbeat: time.Millisecond}, newVenue(36, 1, 3).messages(3, time.Second))
	l := listen(t, serve(t, s), "/v1/stream")
	beats := 0
	for beats < 3 && l.lines.Scan() {
		if strings.HasPrefix(l.lines.Text(), ":") {
			beats++
		}
	}
	if beats < 3 {
		t.Error("no heartbeat")
	}
}

// TestClientOfFewEventsHearsHeartbeats: events that its filter leaves out are silence
// for it, however many there are.
func TestClientOfFewEventsHearsHeartbeats(t *testing.T) {
	list := newVenue(36, 1, 3).messages(124, time.Second)
	synctest.Test(t, func(t *testing.T) {
		s := filled(t, Settings{}, list[:3])
		ctx, leave := context.WithCancel(t.Context())
		w := httptest.NewRecorder()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/stream?location=elsewhere", nil))
		}()
		for _, m := range list[3:] {
			time.Sleep(time.Second) // virtual
			s.take(m, encoded(t, m.Event), m.Event.ID, 0, true)
		}
		leave()
		<-gone
		if beats := strings.Count(w.Body.String(), ": still here"); beats != 8 {
			t.Errorf("%d heartbeats in two minutes, want 8", beats)
		}
	})
}

// stalled is a client that reads nothing until it is let go.
type stalled struct {
	*httptest.ResponseRecorder
	first chan struct{}
	gate  chan struct{}
	once  bool
}

func (w *stalled) Write(b []byte) (int, error) {
	if !w.once {
		w.once = true
		close(w.first)
		<-w.gate
	}
	return w.ResponseRecorder.Write(b)
}

func TestSlowClientIsDroppedWithAReason(t *testing.T) {
	v := newVenue(37, 1, 10)
	s := filled(t, Settings{FeedBytes: 30 << 10}, v.messages(3, time.Second))
	w := &stalled{ResponseRecorder: httptest.NewRecorder(), first: make(chan struct{}), gate: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := httptest.NewRequest(http.MethodGet, "/v1/stream", nil)
		r.Header.Set("Last-Event-ID", "0.e1")
		s.Handler().ServeHTTP(w, r)
	}()
	<-w.first // it hangs in its first write
	for range 200 {
		m := v.next(time.Second)
		s.take(m, encoded(t, m.Event), "", 0, true)
	}
	s.feed.mu.Lock()
	kept, size := len(s.feed.frames), s.feed.bytes
	s.feed.mu.Unlock()
	if kept > 30 || size > 34<<10 {
		t.Errorf("%d frames of %d bytes are kept for slow clients", kept, size)
	}
	// The log no longer reaches back to what the client has, and there is no
	// stream to read the rest from: it must be told, not skipped ahead.
	close(w.gate)
	<-done
	if body := w.Body.String(); !strings.Contains(body, "event: dropped") || strings.Contains(body, "event: session") {
		t.Errorf("got %s", body)
	}
}

func TestClientThatFallsOutOfTheLogIsTold(t *testing.T) {
	v := newVenue(38, 1, 10)
	s := filled(t, Settings{FeedBytes: 30 << 10}, v.messages(3, time.Second))
	w := httptest.NewRecorder()
	c := &client{api: &api{s: s}, w: w, to: http.NewResponseController(w), epoch: "e1"}
	for range 200 {
		m := v.next(time.Second)
		s.take(m, encoded(t, m.Event), "", 0, true)
	}
	if err := c.follow(t.Context(), 0); err != errSlow {
		t.Errorf("follow: %v", err)
	}
	s.feed.restart("e2")
	if err := c.follow(t.Context(), 0); err != errReset {
		t.Errorf("follow in a new epoch: %v", err)
	}
}

func TestStoppingServiceLetsItsClientsGo(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	s, stop := running(t, js, quickSettings())
	until(t, "live", reaches(s, 0))
	l := listen(t, serve(t, s), "/v1/stream")
	l.until(t, "status")
	stop()
	if m := l.until(t, "dropped"); !strings.Contains(m.data, "stopping") {
		t.Errorf("%+v", m)
	}
	if _, ok := l.next(); ok {
		t.Error("the stream goes on")
	}
}

// TestStreamOutlivesTheServersWriteTimeout: the server may bound how long other
// answers take to be read.
func TestStreamOutlivesTheServersWriteTimeout(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	settings := quickSettings()
	settings.Heartbeat = 20 * time.Millisecond
	s, _ := running(t, js, settings)
	web := httptest.NewUnstartedServer(s.Handler())
	web.Config.WriteTimeout = 50 * time.Millisecond
	web.Start()
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })

	l := listen(t, web.URL, "/v1/stream")
	for beats := 0; beats < 10; {
		if !l.lines.Scan() {
			t.Fatalf("the stream ended after %d heartbeats: %v", beats, l.lines.Err())
		}
		if strings.HasPrefix(l.lines.Text(), ": still here") {
			beats++
		}
	}
	publish(t, js, newVenue(32, 1, 1).messages(1, time.Second)...)
	l.until(t, "session")
}
