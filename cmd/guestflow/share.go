package main

import (
	"context"
	"crypto/rand"
	"os"
	"time"

	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/internal/lease"
	"github.com/guestflow/guestflow/poller"
)

// leaseMin is the shortest lease: a new leader of the bucket's stream takes some seconds.
const leaseMin = 3 * time.Second

// share runs the accounts that fall to this process, beside others with the same
// accounts file, until ctx ends.
func (f *fleet) share(ctx context.Context) {
	cfg, log := &f.app.cfg, f.app.log
	owner := rand.Text()[:10]
	if host, err := os.Hostname(); err == nil {
		owner = lease.Plain(host) + "-" + owner
	}
	for f.app.AwaitStream(ctx) == nil {
		kv, err := lease.Open(ctx, f.app.nats.js, lease.DefaultBucket, cfg.Lease, cfg.StreamReplicas, !cfg.StreamManage)
		if err == nil {
			s := &lease.Sharer{KV: kv, Owner: owner, TTL: cfg.Lease, Names: f.names, Log: log, Carry: f.carry, Run: f.keepLeased}
			if f.app.hooks != nil {
				s.Single = []string{webhooksLease}
			}
			err = s.Share(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		f.sharing = err
		f.mu.Unlock()
		log.Error("accounts cannot be shared with other processes; trying again", "error", err)
		_ = (poller.SystemClock{}).Sleep(ctx, time.Second) // its error is that ctx ended
	}
}

// webhooksLease is the name of the lease of who sends the webhooks: one process at a time,
// or the events of a session would overtake each other. No account has it.
const webhooksLease = "*webhooks"

// keepLeased keeps an account running for as long as its lease is held here.
func (f *fleet) keepLeased(ctx context.Context, held *lease.Lease) {
	f.mu.Lock()
	f.sharing = nil
	f.mu.Unlock()
	if held.Name == webhooksLease {
		f.app.sendWebhooks(ctx)
		return
	}
	if m, _ := f.current(held.Name); m != nil {
		err := account.TakeRequests(m.cfg.DataDir, held.Name, held.Carried, m.cfg.APIRateLimit, m.cfg.APISharedLimit, held.Clean, held.CarriedAt)
		if err != nil {
			f.app.log.Warn("what the account's former process asked of the platform is not known; the limit may be met for a minute", "account", held.Name, "error", err)
		}
	}
	f.keep(ctx, held.Name, held)
}

func (f *fleet) names() []string {
	var names []string
	for _, m := range f.all() {
		names = append(names, m.cfg.Account)
	}
	return names
}

// carry is what the next process of an account needs to keep the platform's limit.
func (f *fleet) carry(name string) []byte {
	if name == webhooksLease {
		return nil
	}
	return account.Requests(f.app.cfg.DataDir, name)
}
