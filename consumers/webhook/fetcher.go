package webhook

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fetcher makes one pull request at a time, each for no more messages than there
// is room for. Nothing is buffered on the way, so a message's AckWait does not
// run out before the runner knows of it.
type fetcher struct {
	consumer jetstream.Consumer
	messages chan jetstream.Msg
	done     chan error // one for each start
	running  bool       // owned by the loop
	wg       sync.WaitGroup
}

func newFetcher(c jetstream.Consumer) *fetcher {
	return &fetcher{consumer: c, messages: make(chan jetstream.Msg), done: make(chan error, 1)}
}

func (f *fetcher) idle() bool { return !f.running }

func (f *fetcher) start(ctx context.Context, n int) {
	f.running = true
	f.wg.Go(func() { f.done <- f.fetch(ctx, n) })
}

func (f *fetcher) wait() { f.wg.Wait() }

func (f *fetcher) fetch(ctx context.Context, n int) error {
	within, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := f.consumer.Fetch(n, jetstream.FetchContext(within))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		select {
		case f.messages <- m:
		case <-ctx.Done():
			_ = m.Nak() // unanswered it would only wait for AckWait
		}
	}
	err = batch.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) {
		return nil
	}
	return err
}
