package poller

import (
	"github.com/guestflow/guestflow/poller/plan"
)

// ledger is what is known of the account, and what waits for an answer. Whatever a
// look showed comes in by take, and by nothing else.
type ledger struct {
	*account
	history historyReader
	missing verifyQueue
	pending pendingEnds
	checks  checks // by address
	commits writer
	// planned is the newest decision: what it says of price and age holds until the
	// next.
	planned plan.Decision
	whole   bool // one page is all of the list
}

func newLedger(s *Settings, q *requests) *ledger {
	e := newAccount(s, q)
	k := &ledger{account: e, pending: pendingEnds{Settings: s, ends: make(map[string]*pendingEnd)}}
	k.history.account, k.missing.account, k.checks.account, k.commits.Settings = e, e, e, s
	k.checks.missing = &k.missing
	return k
}

// recallAll reads what former processes learned of the platform.
func (k *ledger) recallAll() error {
	if err := k.recall(roamingKey, &k.roaming); err != nil {
		return err
	}
	if err := k.recall(wideKey, &k.wide); err != nil {
		return err
	}
	if err := k.recall(probeKey, &k.history.probe); err != nil {
		return err
	}
	if err := k.recall(addressesKey, &k.checks.Capability); err != nil {
		return err
	}
	var rates plan.Memory
	if err := k.recall(ratesKey, &rates); err != nil {
		return err
	}
	k.rates().Recall(rates)
	if err := k.recall(orderKey, &k.remembered); err != nil {
		return err
	}
	if err := k.recall(pastKey, &k.history.backfill); err != nil {
		return err
	}
	k.accountList.Expect(k.remembered)
	k.history.list.Expect(k.history.probe.Direction)
	k.history.probe.sought = k.history.probe.Date != ""
	k.history.probe.resumed = k.history.probe.sought
	return nil
}
