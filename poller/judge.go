package poller

import (
	"iter"
	"slices"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/platform"
)

// judge says of which sessions an answer proves that they are gone, as they are known,
// and what it says of the order of its list.
func (k *ledger) judge(ev *evidence) (gone []events.State, reading order.Reading, err error) {
	ids, reading, err := k.absent(ev)
	if err != nil {
		return nil, reading, err
	}
	for _, id := range ids {
		s, err := k.stateOf(id)
		if err != nil {
			return nil, reading, err
		}
		switch mayHide := func(record platform.Skip) bool { return record.MayHide(&s.Session) }; {
		case !s.Session.Online:
			k.roster.remove(id)
		case !slices.ContainsFunc(ev.skipped, mayHide):
			gone = append(gone, s)
		}
	}
	return gone, reading, nil
}

// absent returns who would be in an answer if they were online, and is not.
func (k *ledger) absent(ev *evidence) (ids []string, reading order.Reading, err error) {
	on := make(map[string]bool, len(ev.sessions))
	for i := range ev.sessions {
		on[ev.sessions[i].ID] = true
	}
	for i := range ev.skipped {
		on[ev.skipped[i].ID] = true
	}
	sent := k.roster.rows.Seconds(ev.sent)
	absent := func(e *entry) bool { return !on[e.ID] && e.shown <= sent && !e.young(ev.since) }
	for _, id := range ev.missing {
		if e := k.roster.find(id); e == nil && !on[id] || e != nil && absent(e) {
			ids = append(ids, id)
		}
	}
	switch ev.scope {
	case ofLocation:
		if reading = k.locationLists.Read(k.roster.page(ev)); reading.Contradicted {
			k.roster.disorder(ofLocation)
		}
	case ofAccount:
		reading = k.accountList.Read(k.roster.page(ev))
		if err := k.learnOrder(reading); err != nil {
			return nil, reading, err
		}
	default:
		slices.Sort(ids)
		return ids, reading, nil
	}
	if ev.anchored || reading.Whole {
		for e := range k.expected(ev.scope, ev.location, reading) {
			switch {
			case !absent(e):
			case ev.scope == ofLocation && k.roaming:
				k.missing.add(e.ID) // It may have moved.
			default:
				ids = append(ids, e.ID)
			}
		}
	}
	slices.Sort(ids)
	return ids, reading, nil
}

// expected yields the entries that a page of the account's list showed if they were
// online, or one of a location's list if they were online there.
func (k *account) expected(list scope, at string, reading order.Reading) iter.Seq[*entry] {
	switch {
	case list == ofLocation:
		return where(k.roster.at(k.watched.byID[at]), func(e *entry) bool { return reading.Whole || k.keepsPosition(e) && reading.Proves(e.Start) })
	case reading.Whole:
		return k.roster.at(nil)
	}
	return func(yield func(*entry) bool) {
		after, before, bounded := reading.Bounds()
		if !bounded {
			return
		}
		for e := range k.roster.within(after, before) {
			if e.in[ofAccount].placed && !yield(e) {
				return
			}
		}
		// Who was set aside has its position still.
		for e := range k.roster.looseWithin(after, before) {
			if e.in[ofAccount].placed && !e.in[ofAccount].displaced && reading.Proves(e.Start) && !yield(e) {
				return
			}
		}
	}
}

// where yields the entries that a condition holds for.
func where(entries iter.Seq[*entry], holds func(*entry) bool) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := range entries {
			if holds(e) && !yield(e) {
				return
			}
		}
	}
}

// keepsPosition reports whether a page of a location may judge a session by its start:
// either list has shown it in its position, and neither out of it.
func (k *account) keepsPosition(e *entry) bool {
	inAccount, inLocation := e.in[ofAccount], e.in[ofLocation]
	return k.startsTell() && !inAccount.displaced && !inLocation.displaced && (inAccount.placed || inLocation.placed)
}

// startsTell reports whether starts may say where sessions stand in a location's
// list: never while the account's list contradicts that order.
func (k *account) startsTell() bool {
	return k.accountList.Established() || k.accountList.Contradictions == 0
}

// page returns an answer as a page of its list.
func (r *roster) page(ev *evidence) order.Page {
	list := ev.scope
	if list == ofHistory {
		list = ofAccount // the same key sorts both
	}
	return order.Page{Records: r.records(ev.sessions, list), First: ev.first, Last: ev.last}
}

// records returns what the order of a list rests on.
func (r *roster) records(sessions []events.Session, list scope) []order.Record {
	records := make([]order.Record, len(sessions))
	for i := range sessions {
		s := &sessions[i]
		records[i] = order.Record{ID: s.ID, Start: s.StartedAt}
		if e := r.find(s.ID); e != nil {
			in := &e.in[list]
			records[i].Written = e.writes > in.writes || e.written(s)
			records[i].Placed = in.placed && e.Start.Equal(s.StartedAt)
		}
	}
	return records
}

// written reports whether a record shows that its row was written since the session
// was last shown.
func (e *entry) written(s *events.Session) bool {
	changed := func(was, is events.Bytes) bool { return was.Error >= 0 && is.Error >= 0 && was != is }
	return changed(e.figures.downloaded, s.Downloaded) || changed(e.figures.uploaded, s.Uploaded)
}

// learnOrder keeps rows and probe in step with what a page says of the order of the
// account's list.
func (k *ledger) learnOrder(reading order.Reading) error {
	d, now := k.accountList.Direction, k.Clock.Now()
	switch {
	case reading.Contradicted:
		if k.accountList.Contradictions == 1 {
			k.Logger.Warn("the list is not sorted by start: until it is, only whole lists prove that a session is gone")
		}
		k.roster.disorder(ofAccount)
		if err := k.rememberOrder(""); err != nil {
			return err
		}
		k.history.probe = probe{Frontier: k.history.probe.Frontier, Gaps: reorder(k.history.probe.Gaps)}
		return k.remember(displacedKey, []string{})
	case d != "" && k.roster.rows.NewestFirst != (d == order.NewestFirst):
		k.roster.turn(d == order.NewestFirst)
	}
	if !k.accountList.Established() {
		return nil
	}
	if k.history.probe.Direction != d && !now.Before(k.history.probe.faultyTill) {
		k.Logger.Info("the list's order is known: arrivals are read at its end", "order", string(d))
		k.history.probe = probe{Direction: d, Frontier: k.history.probe.Frontier, Gaps: reorder(k.history.probe.Gaps)}
		k.history.list.Expect(d)
	}
	return k.rememberOrder(d)
}

// orderKey names the order of the account's list, so that the next process expects it.
const orderKey = "account.order"

// rememberOrder remembers it where it is another one than before.
func (k *ledger) rememberOrder(d order.Direction) error {
	if k.remembered == d {
		return nil
	}
	k.remembered = d
	return k.remember(orderKey, d)
}

// notePositions notes which sessions of a page stood in their position in its list.
func (k *account) notePositions(reading order.Reading, ev *evidence) error {
	if reading.Contradicted || ev.scope != ofAccount && ev.scope != ofLocation {
		return nil
	}
	news := false
	for _, id := range reading.Displaced {
		e := k.roster.find(id)
		switch {
		case e == nil || e.Start.IsZero() || e.in[ev.scope].displaced:
		case ev.scope == ofAccount:
			k.roster.displace(e)
			news = true
		default:
			e.in[ofLocation].displaced = true
		}
	}
	for i := range ev.sessions {
		if e := k.roster.find(ev.sessions[i].ID); e != nil {
			in := &e.in[ev.scope]
			in.placed = !in.displaced && k.startsSettle() && (in.placed || !slices.Contains(reading.Doubtful, e.ID))
			in.writes = e.writes
		}
	}
	if !news {
		return nil
	}
	var displaced []string
	for e := range k.roster.loose {
		if e.in[ofAccount].displaced {
			displaced = append(displaced, e.ID)
		}
	}
	slices.Sort(displaced)
	return k.remember(displacedKey, displaced)
}

// displacedKey names the sessions that stand out of the list's order, so that no
// process takes them for gone.
const displacedKey = "account.displaced"
