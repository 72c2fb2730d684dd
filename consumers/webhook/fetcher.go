package webhook

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fetcher makes one pull request at a time, each for no more messages than there
// is room for. Nothing is buffered on the way, so a message's AckWait does not
// run out before the runner knows of it. A request is never broken off: messages
// that the server has just sent would be lost until their AckWait is over.
type fetcher struct {
	consumer jetstream.Consumer
	expires  time.Duration // of a pull request, so also how long wait may take
	messages chan jetstream.Msg
	done     chan error // one for each start
	running  bool       // owned by the loop
	wg       sync.WaitGroup
}

func newFetcher(c jetstream.Consumer, expires time.Duration) *fetcher {
	return &fetcher{consumer: c, expires: expires, messages: make(chan jetstream.Msg), done: make(chan error, 1)}
}

func (f *fetcher) idle() bool { return !f.running }

func (f *fetcher) start(ctx context.Context, n int) {
	f.running = true
	f.wg.Go(func() { f.done <- f.fetch(ctx, n) })
}

func (f *fetcher) wait() { f.wg.Wait() }

func (f *fetcher) fetch(ctx context.Context, n int) error {
	batch, err := f.consumer.Fetch(n, jetstream.FetchMaxWait(f.expires))
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
	if err = batch.Error(); errors.Is(err, nats.ErrTimeout) {
		return nil
	}
	return err
}
