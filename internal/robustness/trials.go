package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// trial is a fault that is done to the real processes.
type trial struct {
	name        string
	short, long int // how many times
	// harm does it, and undoes it. Its error is a violation.
	harm func(m *machine, r *rand.Rand) error
	// disk trials need a disk of their own.
	disk bool
}

// between is a time in which a fault lasts, or that passes until it strikes.
func (m *machine) between(r *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(r.Int64N(int64(high-low)))) / m.haste
}

// trials are all of them. After each, an event has to come that was seen after it.
var trials = []trial{
	{name: "kill -9 of guestflow", short: 6, long: 300, harm: func(m *machine, r *rand.Rand) error {
		time.Sleep(m.between(r, 50*time.Millisecond, 1500*time.Millisecond))
		m.kill()
		return m.start()
	}},
	{name: "SIGSTOP of guestflow", short: 1, long: 10, harm: func(m *machine, r *rand.Rand) error {
		return stopped(m.guestflow.Process, m.between(r, time.Second, 4*time.Second))
	}},
	{name: "kill -9 of NATS", short: 1, long: 25, harm: func(m *machine, r *rand.Rand) error {
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
	{name: "TCP to the platform: cut", short: 1, long: 8, harm: cut(toPlatform)},
	{name: "TCP to the platform: half-open", short: 1, long: 6, harm: toxic(toPlatform, `{"type":"timeout","attributes":{"timeout":0}}`)},
	{name: "TCP to the platform: reset", long: 6, harm: toxic(toPlatform, `{"type":"reset_peer","attributes":{"timeout":50}}`)},
	{name: "TCP to the platform: slow", long: 6, harm: toxic(toPlatform, `{"type":"latency","attributes":{"latency":900,"jitter":500}}`)},
	{name: "TCP to the platform: slow close", long: 4, harm: both(toxic(toPlatform, `{"type":"slow_close","attributes":{"delay":2000}}`), cut(toPlatform))},
	{name: "TCP to the platform: 4 kB/s", long: 4, harm: toxic(toPlatform, `{"type":"bandwidth","attributes":{"rate":4}}`)},
	{name: "TCP to the platform: bodies broken off", long: 4, harm: toxic(toPlatform, `{"type":"limit_data","attributes":{"bytes":9000}}`)},
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
	{name: "consumers and buckets deleted", long: 4, harm: changed(deleteConsumers)},
	{name: "foreign and malformed messages", short: 1, long: 4, harm: foreign},
	{name: "state file of zero bytes", short: 1, long: 2, harm: damaged(func([]byte) []byte { return nil })},
	{name: "state file truncated", short: 1, long: 4, harm: func(m *machine, r *rand.Rand) error {
		// What a file has beyond its last page in use can go without loss.
		return damaged(func(b []byte) []byte { return b[:1+r.IntN(min(len(b)-1, 4*os.Getpagesize()))] })(m, r)
	}},
	{name: "state file of another program", short: 1, long: 2, harm: damaged(func(b []byte) []byte {
		return append([]byte("SQLite format 3\x00"), bytes.Repeat([]byte{1, 2, 3, 4}, min(len(b), 1<<20)/4)...)
	})},
	{name: "disk full", disk: true, short: 1, long: 8, harm: diskFilled},
	{name: "disk full at a start", disk: true, long: 4, harm: diskFullAtStart},
	{name: "data directory read-only", disk: true, long: 2, harm: readOnly},
}

func stopped(p *os.Process, d time.Duration) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(d)
	return p.Signal(syscall.SIGCONT)
}

func both(a, b func(*machine, *rand.Rand) error) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error { return errors.Join(a(m, r), b(m, r)) }
}

func toNATS(m *machine) *toxiproxy.Proxy     { return m.broker }
func toPlatform(m *machine) *toxiproxy.Proxy { return m.api }

// toxic poisons a way for some seconds.
func toxic(way func(*machine) *toxiproxy.Proxy, of string) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		t, err := way(m).Toxics.AddToxicJson(strings.NewReader(of))
		if err != nil {
			return err
		}
		time.Sleep(m.between(r, time.Second, 6*time.Second))
		return way(m).Toxics.RemoveToxic(context.Background(), t.Name)
	}
}

// cut ends the connections of a way, and refuses new ones for a while.
func cut(way func(*machine) *toxiproxy.Proxy) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		way(m).Stop()
		time.Sleep(m.between(r, 0, 3*time.Second))
		return way(m).Start()
	}
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

// damaged starts guestflow on a damaged state file: it has to refuse, to say which file
// and what to do, and to leave the file as it is.
func damaged(damage func([]byte) []byte) func(*machine, *rand.Rand) error {
	return func(m *machine, _ *rand.Rand) error {
		if err := m.stop(); err != nil {
			return err
		}
		path := filepath.Join(m.data, "default.db")
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		bad := damage(whole)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			return err
		}
		refusal := m.refuses(path)
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
			refusal = errors.Join(refusal, fmt.Errorf("the damaged file was changed (%w)", err))
		}
		return errors.Join(refusal, os.WriteFile(path, whole, 0o600), m.start())
	}
}

// refuses starts guestflow where it cannot run, and judges what it says.
func (m *machine) refuses(names string) error {
	if err := m.start(); err != nil {
		return err
	}
	var exit *exec.ExitError
	select {
	case <-m.ended:
		text := m.said.String()
		switch {
		case !errors.As(m.exit, &exit):
			return fmt.Errorf("it ended with %w instead of refusing: %s", exitOf(m.exit), text)
		case !strings.Contains(text, names):
			return fmt.Errorf("its refusal does not name %s: %s", names, text)
		case strings.Contains(text, "panic") || strings.Contains(text, "nil pointer") || strings.Contains(text, "goroutine "):
			return fmt.Errorf("its refusal speaks of its inside: %s", text)
		}
		return nil
	case <-time.After(20 * time.Second):
		m.kill()
		return fmt.Errorf("it runs, on what it cannot read: %s", m.said)
	}
}

// fill takes all room on the data directory's disk.
func (m *machine) fill() (free func() error, err error) {
	path := filepath.Join(m.data, "filler")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() error { return os.Remove(path) }, nil
}

func diskFilled(m *machine, r *rand.Rand) error {
	free, err := m.fill()
	if err != nil {
		return err
	}
	time.Sleep(m.between(r, time.Second, 5*time.Second))
	return errors.Join(m.lives(), free())
}

func diskFullAtStart(m *machine, _ *rand.Rand) error {
	if err := m.stop(); err != nil {
		return err
	}
	free, err := m.fill()
	if err != nil {
		return err
	}
	if err := m.start(); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	return errors.Join(m.lives(), free())
}

func readOnly(m *machine, _ *rand.Rand) error {
	if err := m.stop(); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", m.data, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	refusal := m.refuses(m.data)
	return errors.Join(refusal, syscall.Mount("tmpfs", m.data, "tmpfs", syscall.MS_REMOUNT, ""), m.start())
}
