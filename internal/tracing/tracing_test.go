package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func spansOf(t *testing.T, sampler sdk.Sampler, do func(*Tracer)) map[string]sdk.ReadOnlySpan {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	tracer := newTracer(kept, resource.Empty(), sampler)
	do(tracer)
	if err := tracer.provider.ForceFlush(context.Background()); err != nil {
		t.Fatal(err)
	}
	by := map[string]sdk.ReadOnlySpan{}
	for _, s := range kept.GetSpans().Snapshots() {
		by[s.Name()] = s
	}
	tracer.Close()
	return by
}

// TestTraceOfAnEvent: from the look to the webhook it is one trace, whose parts follow
// from the event's id, so that another process goes on with it.
func TestTraceOfAnEvent(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	look := Look{Account: "a", Location: "lobby", Sent: at, Answered: at.Add(80 * time.Millisecond), Compared: at.Add(81 * time.Millisecond), Committed: at.Add(90 * time.Millisecond)}
	var sent string
	first := spansOf(t, sdk.AlwaysSample(), func(tr *Tracer) { tr.Looked(look, Event{"e1", "guestflow.session.started.v1"}) })
	second := spansOf(t, sdk.AlwaysSample(), func(tr *Tracer) {
		tr.Published("a", "GUEST_SESSIONS", "guest.sessions.a.lobby.started", "e1", time.Millisecond)
		var end func(int, error)
		sent, end = tr.Try(tr.Traceparent("e1"), "crm", "e1")
		end(503, nil)
	})
	root := first["look"]
	for name, parent := range map[string]sdk.ReadOnlySpan{
		"request": root, "diff": root, "commit": root, "publish GUEST_SESSIONS": root, "webhook crm": second["publish GUEST_SESSIONS"],
	} {
		s := first[name]
		if s == nil {
			s = second[name]
		}
		if s == nil || parent == nil {
			t.Fatalf("there is no span %q, or none above it", name)
		}
		if s.SpanContext().TraceID() != root.SpanContext().TraceID() || s.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("%s is below %v, want %v", name, s.Parent(), parent.SpanContext())
		}
	}
	if got := first["commit"]; !got.StartTime().Equal(look.Compared) || !got.EndTime().Equal(look.Committed) {
		t.Errorf("the commit went from %v to %v", got.StartTime(), got.EndTime())
	}
	hook := second["webhook crm"]
	if sent != traceparentOf(hook.SpanContext()) {
		t.Errorf("the request bears %s, its span is %v", sent, hook.SpanContext())
	}
	if hook.Status().Description != "" || hook.Status().Code.String() != "Error" {
		t.Errorf("status of the request: %+v", hook.Status())
	}
}

// TestSampledOutCostsNoSpan: the decision follows from the trace's id and is handed on.
func TestSampledOutCostsNoSpan(t *testing.T) {
	spans := spansOf(t, sdk.NeverSample(), func(tr *Tracer) {
		if got := tr.Traceparent("e1"); !strings.HasPrefix(got, "00-") || !strings.HasSuffix(got, "-00") {
			t.Errorf("traceparent %s", got)
		}
		tr.Looked(Look{}, Event{ID: "e1"})
		tr.Published("", "", "", "e1", 0)
		_, end := tr.Try(tr.Traceparent("e1"), "crm", "e1")
		end(0, errors.New("broken"))
	})
	if len(spans) != 0 {
		t.Errorf("%d spans were sent", len(spans))
	}
}

// TestOffCostsNothing, and a foreign trace passes through.
func TestOffCostsNothing(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	tracer, err := Start(t.Context(), "test", slog.New(slog.DiscardHandler))
	if err != nil || tracer != nil {
		t.Fatal(tracer, err)
	}
	look, event := Look{}, Event{"e1", "x"}
	if n := testing.AllocsPerRun(100, func() {
		tracer.Looked(look, event)
		tracer.Published("a", "s", "x", "e1", 0)
		got, end := tracer.Try("theirs", "crm", "e1")
		if end(200, nil); got != "theirs" {
			t.Error(got)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSettingsThatCannotBeUsedAreNamed.
func TestSettingsThatCannotBeUsedAreNamed(t *testing.T) {
	for _, c := range []struct{ variable, value, want string }{
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf alone"},
		{"OTEL_TRACES_SAMPLER", "jaeger_remote", "use always_on"},
		{"OTEL_TRACES_SAMPLER_ARG", "2", "from 0 to 1"},
	} {
		t.Run(c.variable, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
			t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
			t.Setenv(c.variable, c.value)
			if _, err := Start(t.Context(), "test", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.variable+"="+c.value) || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

// TestVariablesThatCannotWork are refused: the exporter itself would send to nowhere, or
// without the certificate, and say so at most in a form of its own.
func TestVariablesThatCannotWork(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "write it as in http://collector:4318"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector:4318", "write it as in"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "write it as in"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "://", "write it as in"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "whole milliseconds"},
		{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1", "whole milliseconds"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "no such file"},
		{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/nowhere/key.pem", "no such file"},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
			t.Setenv(c.name, c.value)
			tracer, err := Start(t.Context(), "1", slog.New(slog.DiscardHandler))
			tracer.Close()
			if err == nil || !strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s and %q", err, c.name, c.want)
			}
		})
	}
}

// moody fails with another error each time, until it is well.
type moody struct {
	sdk.SpanExporter
	failures int
}

func (m *moody) ExportSpans(context.Context, []sdk.ReadOnlySpan) error {
	if m.failures--; m.failures < 0 {
		return nil
	}
	return fmt.Errorf("mood %d", m.failures)
}

// TestTroubleIsToldOnce, whatever errors it consists of, and so is its end.
func TestTroubleIsToldOnce(t *testing.T) {
	var told strings.Builder
	e := &telling{SpanExporter: &moody{failures: 5}, log: slog.New(slog.NewTextHandler(&told, nil))}
	for range 8 {
		if err := e.ExportSpans(t.Context(), nil); err != nil {
			t.Error("an error goes on to the handler, which tells it as well:", err)
		}
	}
	if log := told.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "mood 4") || !strings.Contains(log, "are sent again") {
		t.Errorf("the log says\n%s", log)
	}
}
