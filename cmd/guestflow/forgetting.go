package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/consumers/visit"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/poller"
)

// appliedPrefix begins the names of the consumers by which each data directory confirms
// that it has forgotten whom the list has.
const appliedPrefix = "applied-"

// What a consumer of the list says of its data directory.
const (
	appliedHost = "guestflow.host"
	appliedDir  = "guestflow.directory"
	appliedKey  = "guestflow.key" // forgotten.KeyMark
)

// appliedKept is how long after the last sign of a data directory it is no longer asked
// for confirmation.
const appliedKept = 30 * 24 * time.Hour

// forgetter follows the list of who is forgotten, and has all that runs in this process
// forget them.
type forgetter struct {
	cfg  Config
	js   jetstream.JetStream
	log  *slog.Logger
	list *forgotten.List
	// ready is closed when NATS is there; nil does not wait.
	ready <-chan struct{}
	// alone is what this process is where it is no guestflow run and has no data directory.
	alone string
	// What has to forget; nil where it does not run here.
	fleet  *fleet
	web    *occupancy.Service
	visits *visit.Service

	told string // why the list cannot be followed, as the log has it
}

// newForgetter returns one with a list that is empty yet.
func newForgetter(cfg Config, js jetstream.JetStream, log *slog.Logger) *forgetter {
	return &forgetter{cfg: cfg, js: js, log: log, list: forgotten.NewList(cfg.PrivacyKey)}
}

// run follows the list until ctx ends, and outlives every outage of NATS.
func (f *forgetter) run(ctx context.Context) error {
	if f.ready != nil {
		select {
		case <-f.ready:
		case <-ctx.Done():
			return nil
		}
	}
	for ctx.Err() == nil {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && err.Error() != f.told {
			f.told = err.Error()
			f.log.Warn("the list of who is forgotten cannot be followed; trying again", "error", err)
		}
		if (poller.SystemClock{}).Sleep(ctx, 2*time.Second) != nil {
			return nil
		}
	}
	return nil
}

// beside runs a service, and follows the list until it ends.
func (f *forgetter) beside(ctx context.Context, run func() error) error {
	ctx, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() { _ = f.run(ctx) }) // always nil
	err := run()
	stop()
	following.Wait()
	return err
}

// follow applies the whole list, then what is added to it, until something fails.
func (f *forgetter) follow(ctx context.Context) error {
	stream, err := forgottenStream(ctx, f.js, &f.cfg)
	if err != nil {
		return err
	}
	marks, err := readMarks(ctx, stream)
	if err != nil {
		return err
	}
	if err := f.apply(ctx, marks); err != nil {
		return err
	}
	consumer, err := f.place(ctx, stream)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(16), jetstream.PullExpiry(5*time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		var e forgotten.Entry
		if err := json.Unmarshal(m.Data(), &e); err != nil {
			f.log.Error("an entry of the list of who is forgotten cannot be read", "error", err)
		} else if err := f.apply(ctx, e.Marks); err != nil {
			return errors.Join(err, m.NakWithDelay(time.Second))
		}
		if err := m.Ack(); err != nil {
			return err
		}
	}
}

// place is where this data directory is in the list.
func (f *forgetter) place(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	host, _ := os.Hostname() // empty where it is not known
	name, dir := f.alone+"-"+strings.ReplaceAll(host, ".", "-"), ""
	if f.fleet != nil {
		var err error
		if dir, err = filepath.Abs(f.cfg.DataDir); err != nil {
			return nil, err
		}
		if name, err = directoryName(dir); err != nil {
			return nil, err
		}
	}
	return stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: appliedPrefix + name, Description: "guestflow: has forgotten whom the list has", FilterSubject: forgotten.ListSubject,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Minute, InactiveThreshold: appliedKept,
		Metadata: map[string]string{appliedHost: host, appliedDir: dir, appliedKey: forgotten.KeyMark(f.cfg.PrivacyKey)},
	})
}

// directoryName is the random name of a data directory, which is made with the first call.
func directoryName(dir string) (string, error) {
	path := filepath.Join(dir, "name")
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	name := nuid.Next()
	return name, os.WriteFile(path, []byte(name+"\n"), 0o600)
}

// apply has everything in this process forget whom the marks are of.
func (f *forgetter) apply(ctx context.Context, marks []string) error {
	if len(marks) == 0 {
		return nil
	}
	f.list.Add(marks)
	if !f.list.Readable() {
		return errors.New("GUESTFLOW_PRIVACY_KEY is not the one by which people were forgotten: set it as it was, or who was forgotten comes back")
	}
	if f.fleet != nil {
		if err := f.applyToAccounts(marks); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if f.web != nil {
		if err := f.web.Forget(ctx, f.js); err != nil {
			return fmt.Errorf("occupancy: %w", err)
		}
	}
	if f.visits != nil {
		if err := f.visits.Forget(ctx); err != nil {
			return fmt.Errorf("visits: %w", err)
		}
	}
	return nil
}

// applyToAccounts has the state files forget, those of accounts that do not run as well.
func (f *forgetter) applyToAccounts(marks []string) error {
	open := map[string]bool{}
	for _, m := range f.fleet.all() {
		a := m.open()
		if a == nil {
			continue
		}
		open[account.StatePath(m.cfg.DataDir, m.cfg.Account)] = true
		did, err := a.Forget(marks)
		if err != nil {
			return err
		}
		if did.Sessions+did.Events > 0 {
			f.log.Info("a person was forgotten", "account", m.cfg.Account, "sessions", did.Sessions, "events_not_sent_or_kept", did.Events)
		}
	}
	_, err := forgetIn(f.cfg.DataDir, f.list, open)
	return err
}

// forgetIn has the state files in a data directory that no process has open forget whom
// the list has, and returns those files that are open elsewhere.
func forgetIn(dir string, list *forgotten.List, but map[string]bool) (locked []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		name, err := events.DecodeToken(strings.TrimSuffix(filepath.Base(path), ".db"))
		if err != nil || but[path] {
			continue
		}
		open, err := account.ForgetFile(path, name, list)
		if err != nil {
			return locked, err
		}
		if open {
			locked = append(locked, path)
		}
	}
	return locked, nil
}

// forgottenStream returns the stream of who is forgotten, which is made where it does not
// exist and guestflow makes streams.
func forgottenStream(ctx context.Context, js jetstream.JetStream, cfg *Config) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, forgotten.DefaultStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) && cfg.StreamManage {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: forgotten.DefaultStream, Description: "guestflow: who is forgotten", Subjects: []string{forgotten.DefaultPrefix + ".*"},
			Storage: jetstream.FileStorage, Replicas: cfg.StreamReplicas, AllowDirect: true, AllowMsgTTL: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			stream, err = js.Stream(ctx, forgotten.DefaultStream)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", forgotten.DefaultStream, err)
	}
	return stream, nil
}

// readMarks reads the whole list.
func readMarks(ctx context.Context, stream jetstream.Stream) (marks []string, err error) {
	err = consume.Past(ctx, stream, consume.FromStart(), []string{forgotten.ListSubject}, func(m jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
		var e forgotten.Entry
		if json.Unmarshal(m.Data(), &e) == nil {
			marks = append(marks, e.Marks...)
		}
		return true, nil
	})
	return marks, err
}
