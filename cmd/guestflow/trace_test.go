package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/publisher"
)

// collected is an OTLP collector: the names of spans by trace, and of each span its
// traceparent.
type collected struct {
	mu      sync.Mutex
	traces  map[string]map[string]bool
	parents map[string]string // traceparent → name
	service string
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &sent)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range sent.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				c.service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := hex.EncodeToString(s.GetTraceId())
				if c.traces[id] == nil {
					c.traces[id] = map[string]bool{}
				}
				c.traces[id][s.GetName()] = true
				c.parents["00-"+id+"-"+hex.EncodeToString(s.GetSpanId())+"-01"] = s.GetName()
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// name is that of the span which a traceparent names, empty for none yet.
func (c *collected) name(traceparent string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parents[traceparent]
}

// TestEventsAreTraced: from the look to the webhook, what becomes of an event is one
// trace at the collector, named in its message and in the request.
func TestEventsAreTraced(t *testing.T) {
	t.Parallel()
	spans := &collected{traces: map[string]map[string]bool{}, parents: map[string]string{}}
	receiver := httptest.NewServer(spans)
	t.Cleanup(receiver.Close)
	requests := make(chan string, 1000)
	hooked := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case requests <- r.Header.Get("Traceparent"):
		default:
		}
	}))
	t.Cleanup(hooked.Close)
	endpoints := filepath.Join(t.TempDir(), "endpoints.yaml")
	text := "endpoints:\n  - {name: crm, url: " + hooked.URL + ", secrets: [\"env:CRM_SECRET\"], allow_private: true}\n"
	if err := os.WriteFile(endpoints, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := natstest.New(t)
	conn := natstest.Connect(t, server.URL())
	messages, err := conn.SubscribeSync("guest.sessions.>")
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, append(environ(t, platformOf(t, "default"), "GUESTFLOW_API_TOKEN=right-default", "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL="+server.URL(),
		"GUESTFLOW_HTTP_ADDR=-", "GUESTFLOW_WEBHOOKS_FILE="+endpoints), actAs+"=guestflow", "CRM_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+receiver.URL, "OTEL_BSP_SCHEDULE_DELAY=100"), "run")
	t.Cleanup(func() { p.cmd.Process.Kill() })

	eventually(t, func() string {
		if n, _, err := messages.Pending(); err != nil || n == 0 || len(requests) == 0 {
			return fmt.Sprintf("%d messages, %d requests (%v)\n%s", n, len(requests), err, p.output)
		}
		return ""
	})
	m, err := messages.NextMsg(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	request := <-requests
	eventually(t, func() string {
		if name := spans.name(m.Header.Get(publisher.HeaderTraceparent)); name != "publish GUEST_SESSIONS" {
			return "the message names the span " + name + " by " + m.Header.Get(publisher.HeaderTraceparent)
		}
		if name := spans.name(request); name != "webhook crm" {
			return "the request names the span " + name + " by " + request
		}
		spans.mu.Lock()
		defer spans.mu.Unlock()
		of := spans.traces[strings.Split(request, "-")[1]]
		for _, name := range []string{"look", "request", "diff", "commit", "publish GUEST_SESSIONS", "webhook crm"} {
			if !of[name] {
				return "the trace of a request lacks " + name
			}
		}
		if spans.service != "guestflow" {
			return "the service is called " + spans.service
		}
		return ""
	})
	stop(t, p)
}
