package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// telling logs when traces begin to be lost and when they no longer are, rather than each
// error: a collector that hangs gives several kinds of them, twice a minute.
type telling struct {
	sdk.SpanExporter
	log    *slog.Logger
	losing atomic.Bool
}

// ExportSpans never returns an error, which would be told of once more.
func (e *telling) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	was := e.losing.Swap(err != nil)
	switch {
	case err != nil && !was:
		e.log.Warn("traces cannot be sent; events go on without", "error", err)
	case err == nil && was:
		e.log.Info("traces are sent again")
	}
	return nil
}
