package webhook

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/guestflow/guestflow/events"
)

func TestEverySecretVerifiesByItself(t *testing.T) {
	t.Parallel()
	texts := []string{testSecret, secretPrefix + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
	var secrets []Secret
	for _, text := range texts {
		s, err := ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, s)
	}
	body := []byte(`{"a":1}`)
	h := http.Header{}
	sign(h, secrets, "msg_1", time.Now(), body)
	if n := len(strings.Split(h.Get(HeaderSignature), " ")); n != 2 {
		t.Errorf("%d signatures, want 2", n)
	}
	for _, text := range texts {
		wh, err := standardwebhooks.NewWebhook(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify(body, h); err != nil {
			t.Errorf("does not verify: %v", err)
		}
		if wh.Verify([]byte(`{"a":2}`), h) == nil {
			t.Error("a changed body verifies")
		}
		changed := h.Clone()
		changed.Set(HeaderID, "msg_2")
		if wh.Verify(body, changed) == nil {
			t.Error("a changed id verifies")
		}
	}
	other, err := standardwebhooks.NewWebhook(secretPrefix + "//////////////////////////////////////////8=")
	if err != nil {
		t.Fatal(err)
	}
	if other.Verify(body, h) == nil {
		t.Error("verifies with a secret that is not the endpoint's")
	}
}

func TestFormatsCarryTheEvent(t *testing.T) {
	t.Parallel()
	e := sample(events.Started, "séance \"1\"", 1)
	document, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	// What a later version adds is passed on.
	document = []byte(strings.Replace(string(document), `"data":{`, `"traceparent":"00-1","level":3,"data":{"guest":{"name":"Ada"},`, 1))

	h := http.Header{}
	body, err := CloudEvents.render(h, document)
	if err != nil || string(body) != string(document) || h.Get("Content-Type") != "application/json" {
		t.Errorf("structured: %s, %v, %v", body, h, err)
	}

	h = http.Header{}
	body, err = CloudEventsBinary.render(h, document)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": e.ID, "Ce-Type": "guestflow.session.started.v1",
		"Ce-Subject": "s%C3%A9ance%20%221%22", "Ce-Source": "guestflow/acme", "Ce-Traceparent": "00-1", "Ce-Level": "3", "Ce-Data": "", "Ce-Datacontenttype": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	checkData(t, body)

	h = http.Header{}
	body, err = PlainData.render(h, document)
	if err != nil || len(h) != 1 || h.Get("Content-Type") != "application/json" {
		t.Errorf("data: %v, %v", h, err)
	}
	checkData(t, body)

	if _, err := PlainData.render(http.Header{}, []byte("{")); err == nil {
		t.Error("half a document was rendered")
	}
}

// TestBodyIsOneThatReceiversParse: most web frameworks parse application/json and
// nothing else, and answer 200 to a body that they passed over. Who needs another
// content type names it.
func TestBodyIsOneThatReceiversParse(t *testing.T) {
	t.Parallel()
	document, err := events.Encode(sample(events.Started, "s", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ lines, want string }{
		{"", "application/json"},
		{"\n    format: data", "application/json"},
		{"\n    format: cloudevents-binary", "application/json"},
		{"\n    content_type: application/cloudevents+json", "application/cloudevents+json"},
		{"\n    content_type: application/cloudevents+json; charset=utf-8", "application/cloudevents+json; charset=utf-8"},
		{"\n    format: data\n    content_type: application/vnd.acme+json", "application/vnd.acme+json"},
	} {
		cfg, err := parse(t, "endpoints:\n  - GOOD"+tc.lines)
		if err != nil {
			t.Errorf("%s: %v", tc.lines, err)
			continue
		}
		got := make(chan string, 1)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Content-Type") }))
		defer server.Close()
		e := cfg.Endpoints[0]
		e.AllowPrivate = true
		if e.URL, err = url.Parse(server.URL); err != nil {
			t.Fatal(err)
		}
		s := newSender(e, nil, nil, time.Now)
		defer s.close()
		if a := s.send(t.Context(), parcel{id: "id", document: document}, false); a.err != nil {
			t.Fatal(a.err)
		}
		if typ := <-got; typ != tc.want {
			t.Errorf("%s: content type %q, want %q", tc.lines, typ, tc.want)
		}
	}
}

func checkData(t *testing.T, body []byte) {
	t.Helper()
	var d struct {
		Revision int64
		Session  struct{ ID string }
		Guest    struct{ Name string }
	}
	if err := json.Unmarshal(body, &d); err != nil || d.Revision != 1 || d.Session.ID == "" || d.Guest.Name != "Ada" {
		t.Errorf("data %s: %+v, %v", body, d, err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]verdict{
		200: accepted, 204: accepted, 299: accepted, 301: refused, 304: refused, 308: refused, 400: refused, 401: refused,
		404: refused, 408: passing, 410: gone, 422: refused, 425: passing, 429: passing, 500: passing, 503: passing, 599: passing, 999: passing,
	} {
		if got, _ := judge(answer{status: status}); got != want {
			t.Errorf("status %d: verdict %d, want %d", status, got, want)
		}
	}
}

func TestRetryAfterInBothForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "99999": time.Hour, "999999999999999999999999": time.Hour,
		"-5": 0, "soon": 0, "1.5": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
		now.Add(48 * time.Hour).Format(http.TimeFormat):   time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now, time.Hour); got != want {
			t.Errorf("Retry-After %q: %s, want %s", text, got, want)
		}
	}
}

// TestRetryAfterDateIsReadOnTheReceiversClock: a date means as long as the receiver
// thinks, whichever way its clock is wrong.
func TestRetryAfterDateIsReadOnTheReceiversClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, ahead := range []time.Duration{40 * time.Minute, 0, -40 * time.Minute} {
		theirs := now.Add(ahead)
		h := http.Header{"Date": {theirs.Format(http.TimeFormat)}, "Retry-After": {theirs.Add(5 * time.Second).Format(http.TimeFormat)}}
		if got := retryAfter(h, now, time.Hour); got != 5*time.Second {
			t.Errorf("receiver's clock %s ahead: waits %s, want 5s", ahead, got)
		}
	}
	h := http.Header{"Date": {"yesterday"}, "Retry-After": {now.Add(5 * time.Second).Format(http.TimeFormat)}}
	if got := retryAfter(h, now, time.Hour); got != 5*time.Second {
		t.Errorf("a Date that is none: waits %s, want 5s", got)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Fri, 01 May 2026 12:00:00 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		if d := retryAfter(http.Header{"Retry-After": {text}}, time.Unix(1_800_000_000, 0), time.Hour); d < 0 || d > time.Hour {
			t.Errorf("%q: %s", text, d)
		}
	})
}

func TestBackoffGrowsToItsBudget(t *testing.T) {
	t.Parallel()
	b := DefaultBackoff
	for n, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 10: 2560 * time.Second, 11: time.Hour, 1000: time.Hour} {
		if got := b.nominal(n); got != want {
			t.Errorf("wait after try %d is %s, want %s", n, got, want)
		}
	}
	if low, high := b.delay(11, 0), b.delay(11, 0.999999); low != 48*time.Minute || high < 71*time.Minute || high > 72*time.Minute {
		t.Errorf("jitter gives %s to %s, want 48 to 72 minutes", low, high)
	}
	tries := 1
	for !b.spent(tries, 24*time.Hour) {
		tries++
	}
	if tries != 33 { // 5115 s in ten waits, then an hour each
		t.Errorf("%d tries in 24 hours, want 33", tries)
	}
}
