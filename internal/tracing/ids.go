package tracing

import (
	"context"
	"crypto/rand"

	"go.opentelemetry.io/otel/trace"
)

// imposed is the key of ids that a span is to have.
type imposed struct{}

type imposedIDs struct {
	trace trace.TraceID
	span  trace.SpanID
}

// ids gives spans the ids that their context imposes, and random ones else.
type ids struct{}

// NewIDs is part of sdk.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if given, _ := ctx.Value(imposed{}).(*imposedIDs); given != nil {
		return given.trace, given.span
	}
	var id trace.TraceID
	_, _ = rand.Read(id[:]) // never fails
	return id, ids{}.NewSpanID(ctx, id)
}

// NewSpanID is part of sdk.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) (span trace.SpanID) {
	if given, _ := ctx.Value(imposed{}).(*imposedIDs); given != nil {
		return given.span
	}
	_, _ = rand.Read(span[:])
	return span
}
