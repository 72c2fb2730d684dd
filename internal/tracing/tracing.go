// Package tracing exports what becomes of each event as a trace, by OTLP: the look that
// showed it, the diff, the commit, the publishing, and each webhook request that tells of
// it. It imports nothing of the project; data comes from observers of the parts.
//
// An event's trace follows from the event's id, which is deterministic: so whoever
// publishes it after a crash, in another process or from a rebuilt outbox, names the same
// trace, nothing has to be stored for it, and an event without a trace of its own costs
// nothing. Whether a trace is sampled follows from its id, too.
//
// It is off unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is
// set; the variables of OpenTelemetry's exporter hold (headers, time-out, certificates),
// and those of its sampler. The methods of a nil *Tracer do nothing and allocate nothing.
package tracing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes traces. Start makes it, Close sends what is left. Its methods may be called
// concurrently, and do not block.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	sampler  sdk.Sampler
}

// Wanted reports whether the environment says where traces go.
func Wanted() bool {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) != "" &&
		os.Getenv("OTEL_SDK_DISABLED") != "true" && os.Getenv("OTEL_TRACES_EXPORTER") != "none"
}

// Start returns nil where traces are not wanted. The error names the variable that is to
// blame.
func Start(ctx context.Context, version string, log *slog.Logger) (*Tracer, error) {
	if !Wanted() {
		return nil, nil
	}
	if p := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"); p != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: traces are sent by http/protobuf alone; unset it, and name the collector's HTTP port (4318 as a rule)", p)
	}
	if err := checkVariables(); err != nil {
		return nil, err
	}
	sampler, err := samplerOf(os.Getenv("OTEL_TRACES_SAMPLER"), os.Getenv("OTEL_TRACES_SAMPLER_ARG"))
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	// What the environment says comes last, and so wins.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "guestflow"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	var told atomic.Value
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if was := told.Swap(err.Error()); was != err.Error() {
			log.Warn("something is wrong with traces; events go on", "error", err)
		}
	}))
	log.Info("events are traced", "sampler", sampler.Description())
	return newTracer(&telling{SpanExporter: exporter, log: log}, about, sampler), nil
}

func newTracer(exporter sdk.SpanExporter, about *resource.Resource, sampler sdk.Sampler) *Tracer {
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about), sdk.WithSampler(sdk.ParentBased(sampler)), sdk.WithIDGenerator(ids{}))
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/guestflow/guestflow"), sampler: sampler}
}

// samplerOf reads OpenTelemetry's variables of the sampler. A trace has no parent, so
// those that ask the parent first are as those that do not.
func samplerOf(name, argument string) (sdk.Sampler, error) {
	switch strings.TrimPrefix(cmp.Or(name, "always_on"), "parentbased_") {
	case "always_on":
		return sdk.AlwaysSample(), nil
	case "always_off":
		return sdk.NeverSample(), nil
	case "traceidratio":
		share, err := strconv.ParseFloat(cmp.Or(argument, "1"), 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG=%s: use a share of traces, from 0 to 1", argument)
		}
		return sdk.TraceIDRatioBased(share), nil
	}
	return nil, fmt.Errorf("OTEL_TRACES_SAMPLER=%s: use always_on, always_off or traceidratio, or one of these with parentbased_ before it", name)
}

// closing bounds how long Close waits for a collector.
const closing = 3 * time.Second

// Close sends what was not sent yet, as far as the collector takes it within 3 s.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// origin is the trace of an event: its ids follow from the event's.
type origin struct {
	trace         trace.TraceID
	look, publish trace.SpanID
	flags         trace.TraceFlags
}

func (t *Tracer) originOf(event string) (o origin) {
	sum := sha256.Sum256([]byte("guestflow trace " + event))
	copy(o.trace[:], sum[:16])
	copy(o.look[:], sum[16:24])
	copy(o.publish[:], sum[24:])
	if t.sampler.ShouldSample(sdk.SamplingParameters{TraceID: o.trace}).Decision == sdk.RecordAndSample {
		o.flags = trace.FlagsSampled
	}
	return o
}

// at is the context of a span of the trace, for those below it.
func (o *origin) at(span trace.SpanID) context.Context {
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: o.trace, SpanID: span, TraceFlags: o.flags, Remote: true}))
}

// Traceparent is what a message with an event bears, as the W3C's Trace Context and the
// extension of CloudEvents for it have it: the span that publishes it.
func (t *Tracer) Traceparent(event string) string {
	o := t.originOf(event)
	return traceparent(o.trace, o.publish, o.flags)
}

func traceparent(id trace.TraceID, span trace.SpanID, flags trace.TraceFlags) string {
	return "00-" + id.String() + "-" + span.String() + "-" + flags.String()
}

// Event is one that a look showed.
type Event struct{ ID, Type string }

// Look is what brought events: it was sent, answered, compared and committed, one after
// the other.
type Look struct {
	Account, Location                   string
	Sent, Answered, Compared, Committed time.Time
	Records                             int
}

// Looked makes the first spans of each event's trace.
func (t *Tracer) Looked(l Look, event Event) {
	if t == nil {
		return
	}
	o := t.originOf(event.ID)
	if !o.flags.IsSampled() {
		return
	}
	ctx := context.WithValue(context.Background(), imposed{}, &imposedIDs{o.trace, o.look})
	ctx, root := t.tracer.Start(ctx, "look", trace.WithTimestamp(l.Sent), trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(
		attribute.String("guestflow.account", l.Account), attribute.String("guestflow.location", l.Location), attribute.Int("guestflow.records", l.Records),
		attribute.String("cloudevents.event_id", event.ID), attribute.String("cloudevents.event_type", event.Type)))
	ctx = context.WithValue(ctx, imposed{}, (*imposedIDs)(nil))
	for _, part := range []struct {
		name     string
		from, to time.Time
	}{{"request", l.Sent, l.Answered}, {"diff", l.Answered, l.Compared}, {"commit", l.Compared, l.Committed}} {
		_, span := t.tracer.Start(ctx, part.name, trace.WithTimestamp(part.from))
		span.End(trace.WithTimestamp(part.to))
	}
	root.End(trace.WithTimestamp(l.Committed))
}

// Published makes the span of an event's publishing, which took some time until now.
func (t *Tracer) Published(account, stream, subject, event string, took time.Duration) {
	if t == nil {
		return
	}
	o := t.originOf(event)
	if !o.flags.IsSampled() {
		return
	}
	now := time.Now()
	ctx := context.WithValue(o.at(o.look), imposed{}, &imposedIDs{o.trace, o.publish})
	_, span := t.tracer.Start(ctx, "publish "+stream, trace.WithTimestamp(now.Add(-took)), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "send"), attribute.String("messaging.destination.name", subject),
		attribute.String("messaging.message.id", event), attribute.String("guestflow.account", account), attribute.String("cloudevents.event_id", event)))
	span.End(trace.WithTimestamp(now))
}

// Try begins the span of a request that tells a webhook's receiver of an event, below the
// span that the event's message names. It returns what the request bears, and what ends
// the span, with the status of the answer or the error.
func (t *Tracer) Try(parent, endpoint, event string) (traceparent string, end func(status int, err error)) {
	if t == nil {
		return parent, func(int, error) {}
	}
	ctx := context.Background()
	if above, ok := parsed(parent); ok {
		ctx = trace.ContextWithRemoteSpanContext(ctx, above)
	}
	_, span := t.tracer.Start(ctx, "webhook "+endpoint, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", "POST"), attribute.String("guestflow.endpoint", endpoint), attribute.String("cloudevents.event_id", event)))
	of := span.SpanContext()
	return traceparentOf(of), func(status int, err error) {
		if status > 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", status))
		}
		switch {
		case err != nil:
			span.SetStatus(codes.Error, "no answer") // its text may name addresses
		case status >= 300:
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

func traceparentOf(c trace.SpanContext) string {
	return traceparent(c.TraceID(), c.SpanID(), c.TraceFlags())
}

// parsed reads version 00 of a traceparent.
func parsed(header string) (trace.SpanContext, bool) {
	f := strings.Split(header, "-")
	if len(f) != 4 || f[0] != "00" {
		return trace.SpanContext{}, false
	}
	id, err := trace.TraceIDFromHex(f[1])
	if err != nil {
		return trace.SpanContext{}, false
	}
	span, err := trace.SpanIDFromHex(f[2])
	flags, bad := strconv.ParseUint(f[3], 16, 8)
	if err != nil || bad != nil {
		return trace.SpanContext{}, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags), Remote: true}), true
}
