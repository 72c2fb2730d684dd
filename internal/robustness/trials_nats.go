package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// natsTrials befall NATS, and the stream in it.
var natsTrials = []trial{
	{name: "kill -9 of NATS", short: 1, long: 100, harm: func(m *machine, r *rand.Rand) error {
		m.killNATS()
		time.Sleep(m.between(r, 0, 2*time.Second))
		return m.startNATS()
	}},
	{name: "kill -9 of both", short: 1, long: 10, harm: func(m *machine, _ *rand.Rand) error {
		m.killNATS()
		m.kill()
		return errors.Join(m.startNATS(), m.start())
	}},
	{name: "SIGSTOP of NATS", short: 1, long: 10, harm: func(m *machine, r *rand.Rand) error {
		return stopped(m.nats.Process, m.between(r, time.Second, 8*time.Second))
	}},
	{name: "TCP to NATS: cut", short: 1, long: 8, harm: cut(toNATS)},
	{name: "TCP to NATS: half-open", short: 1, long: 6, harm: toxic(toNATS, `{"type":"timeout","attributes":{"timeout":0}}`)},
	{name: "TCP to NATS: answers lost", short: 1, long: 6, harm: toxic(toNATS, `{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)},
	{name: "TCP to NATS: reset", long: 6, harm: toxic(toNATS, `{"type":"reset_peer","attributes":{"timeout":100}}`)},
	{name: "TCP to NATS: slow", long: 6, harm: toxic(toNATS, `{"type":"latency","attributes":{"latency":800,"jitter":700}}`)},
	{name: "TCP to NATS: slow close", long: 4, harm: both(toxic(toNATS, `{"type":"slow_close","attributes":{"delay":2000}}`), cut(toNATS))},
	{name: "TCP to NATS: 4 kB/s", long: 4, harm: toxic(toNATS, `{"type":"bandwidth","attributes":{"rate":4}}`)},
	{name: "TCP to NATS: broken off after some kB", long: 4, harm: toxic(toNATS, `{"type":"limit_data","attributes":{"bytes":9000}}`)},
	{name: "stream deleted", short: 1, long: 6, harm: changed(func(ctx context.Context, m *machine, _ jetstream.Stream, _ uint64, _ *rand.Rand) error {
		return m.js.DeleteStream(ctx, events.DefaultStream)
	})},
	{name: "stream purged", short: 1, long: 6, harm: changed(func(ctx context.Context, _ *machine, s jetstream.Stream, to uint64, _ *rand.Rand) error {
		return s.Purge(ctx, jetstream.WithPurgeSequence(to+1))
	})},
	{name: "stream purged by subject", long: 6, harm: changed(func(ctx context.Context, m *machine, s jetstream.Stream, to uint64, _ *rand.Rand) error {
		return s.Purge(ctx, jetstream.WithPurgeSequence(to+1), jetstream.WithPurgeSubject("guest.sessions.*.*."+string(events.Ended)))
	})},
	{name: "single messages deleted", short: 1, long: 6, harm: changed(deleteSome)},
	{name: "last message deleted, and NATS killed", short: 1, long: 6, harm: both(changed(deleteLast), func(m *machine, _ *rand.Rand) error {
		m.killNATS()
		return m.startNATS()
	})},
	{name: "stream full", short: 1, long: 6, harm: full},
	{name: "stream edited", long: 4, harm: editStream},
	{name: "acked tail lost", short: 1, long: 8, harm: loseTail},
	{name: "TCP to NATS: half-open for longer than a batch lives", long: 3, harm: func(m *machine, r *rand.Rand) error {
		return poisoned(toNATS(m), `{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`, m.between(r, 11*time.Second, 14*time.Second))
	}},
	{name: "50 atomic batches of others in flight", short: 1, long: 4, harm: batchesInFlight},
	{name: "consumers and buckets deleted", long: 4, harm: changed(deleteConsumers)},
	{name: "foreign and malformed messages", short: 1, long: 4, harm: foreign},
}

// changed changes the stream, after everything in it was read.
func changed(change func(context.Context, *machine, jetstream.Stream, uint64, *rand.Rand) error) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		return m.recorder.read(func(s jetstream.Stream, to uint64) error {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return change(ctx, m, s, to, r)
		})
	}
}

func deleteSome(ctx context.Context, _ *machine, s jetstream.Stream, to uint64, r *rand.Rand) error {
	for range 20 {
		if err := s.DeleteMsg(ctx, 1+r.Uint64N(max(to, 1))); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return err
		}
	}
	return nil
}

// deleteLast deletes the last message that was read, and those just before it.
func deleteLast(ctx context.Context, m *machine, s jetstream.Stream, to uint64, _ *rand.Rand) error {
	// A server that is killed then may have forgotten their numbers, which looks like a
	// lost tail: they may come again.
	m.recorder.expectAgain()
	for seq := to; seq > 0 && seq > to-3; seq-- {
		if err := s.DeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return err
		}
	}
	return nil
}

func deleteConsumers(ctx context.Context, m *machine, s jetstream.Stream, _ uint64, _ *rand.Rand) error {
	names := s.ConsumerNames(ctx)
	for name := range names.Name() {
		if err := s.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	buckets := m.js.KeyValueStoreNames(ctx)
	for name := range buckets.Name() {
		if err := m.js.DeleteKeyValue(ctx, name); err != nil {
			return err
		}
	}
	return errors.Join(names.Err(), buckets.Error())
}

// edit changes the stream's configuration.
func edit(m *machine, change func(*jetstream.StreamConfig, jetstream.StreamState)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := m.js.Stream(ctx, events.DefaultStream)
	if err != nil {
		return err
	}
	c := s.CachedInfo().Config
	change(&c, s.CachedInfo().State)
	_, err = m.js.UpdateStream(ctx, c)
	return err
}

// full lets the stream take nothing for a while.
func full(m *machine, r *rand.Rand) error {
	err := edit(m, func(c *jetstream.StreamConfig, s jetstream.StreamState) {
		c.MaxBytes, c.Discard = int64(s.Bytes)+1000, jetstream.DiscardNew
	})
	if err != nil {
		return err
	}
	time.Sleep(m.between(r, time.Second, 4*time.Second))
	return edit(m, func(c *jetstream.StreamConfig, _ jetstream.StreamState) {
		c.MaxBytes, c.Discard = -1, jetstream.DiscardOld
	})
}

// editStream takes batches from the stream, and gives them back.
func editStream(m *machine, r *rand.Rand) error {
	if err := edit(m, func(c *jetstream.StreamConfig, _ jetstream.StreamState) {
		c.AllowAtomicPublish, c.Duplicates, c.Description = false, time.Second, "edited"
	}); err != nil {
		return err
	}
	time.Sleep(m.between(r, time.Second, 3*time.Second))
	return edit(m, func(c *jetstream.StreamConfig, _ jetstream.StreamState) {
		c.AllowAtomicPublish, c.Duplicates = true, 2*time.Minute
	})
}

// loseTail puts NATS back to what its disk held some seconds before.
func loseTail(m *machine, r *rand.Rand) error {
	m.killNATS()
	saved := m.natsDir() + ".saved"
	if err := os.CopyFS(saved, os.DirFS(m.natsDir())); err != nil {
		return err
	}
	if err := m.startNATS(); err != nil {
		return err
	}
	time.Sleep(m.between(r, 500*time.Millisecond, 3*time.Second))
	if err := m.recorder.catchUp(); err != nil {
		return err
	}
	m.killNATS()
	if err := errors.Join(os.RemoveAll(m.natsDir()), os.Rename(saved, m.natsDir())); err != nil {
		return err
	}
	return m.startNATS()
}

// foreign puts messages into the stream's subjects that guestflow did not write.
func foreign(m *machine, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i := range 40 {
		body := [][]byte{nil, []byte("{"), []byte("null"), bytes.Repeat([]byte("["), 10_000), []byte(`{"specversion":"1.0","type":"guestflow.session.ended.v1"}`), {0xff, 0xfe}}[r.IntN(6)]
		account := []string{"default", "other"}[r.IntN(2)]
		msg := &nats.Msg{Subject: fmt.Sprintf("guest.sessions.%s.venue%%2E%d.%s", account, i%3, []string{"started", "ended", "unheard-of"}[r.IntN(3)]), Data: body, Header: nats.Header{foreignHeader: {"1"}}}
		if r.IntN(3) == 0 {
			msg.Header.Set("Guestflow-Seq", "18446744073709551615")
		}
		if _, err := m.js.PublishMsg(ctx, msg); err != nil {
			return err
		}
	}
	return nil
}

// batchesInFlight begins as many atomic batches as a stream may have, and leaves them
// so: the server refuses any further one until it drops these, after 10 s.
func batchesInFlight(m *machine, r *rand.Rand) error {
	for i := range 50 {
		msg := nats.NewMsg("guest.sessions.other.place.started")
		msg.Header.Set("Nats-Batch-Id", fmt.Sprintf("other-%d-%d", r.Uint64(), i))
		msg.Header.Set("Nats-Batch-Sequence", "1")
		msg.Header.Set(foreignHeader, "1")
		if _, err := m.conn.RequestMsg(msg, 5*time.Second); err != nil {
			return err
		}
	}
	return nil
}
