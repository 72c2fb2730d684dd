package poller

import (
	"net/netip"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/plan"
)

// book says who of the roster has which IPv4 address. The platform answers for one of
// those who have an address, so whoever was not alone at it is not asked about by it for
// as long as the session lasts.
type book struct {
	rows           *plan.Rows
	slots          *slots
	at             map[[4]byte]occupants // by IPv4 address
	askable, known int                   // sessions that can be asked about by their address, and that have one
}

// occupants are the sessions at one address: how many, and the slot of the first of them;
// 0 once it has left.
type occupants struct{ n, first int32 }

// askable reports whether a session can be asked about by its address.
func (e *entry) askable() bool {
	return e.address().IsValid() && !e.shared && !e.vain && !e.Start.IsZero()
}

// ipv4 returns the address of a text; the zero Addr where it is none of IPv4, or nobody's
// alone.
func ipv4(text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if a = a.Unmap(); err != nil || !a.Is4() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return netip.Addr{}
	}
	return a
}

// enter puts a session at an address.
func (b *book) enter(e *entry, a netip.Addr) {
	b.leave(e)
	e.place, e.vain, e.shared = [4]byte{}, false, false
	if a.IsValid() {
		e.place = a.As4()
	}
	if e.check != nil {
		e.check.Forget()
	}
	b.mark(e)
	if !a.IsValid() {
		return
	}
	if b.at == nil {
		b.at = make(map[[4]byte]occupants)
	}
	b.known++
	o, taken := b.at[e.place]
	if !taken {
		b.at[e.place] = occupants{1, e.Slot}
		b.askable++
		return
	}
	b.at[e.place] = occupants{o.n + 1, o.first}
	e.shared = true
	b.mark(e)
	b.share(b.slots.of(o.first))
}

// leave takes a session from its address.
func (b *book) leave(e *entry) {
	o, known := b.at[e.place]
	if !known {
		return
	}
	b.known--
	if !e.shared {
		b.askable--
	}
	if o.first == e.Slot {
		o.first = 0
	}
	if o.n--; o.n == 0 {
		delete(b.at, e.place)
	} else {
		b.at[e.place] = o
	}
	e.place = [4]byte{}
}

// who returns who is at an IPv4 address; nobody at the zero Addr.
func (b *book) who(a netip.Addr) (o occupants, known bool) {
	if a.IsValid() {
		o, known = b.at[a.As4()]
	}
	return o, known
}

// share notes that a session is not alone at its address.
func (b *book) share(e *entry) {
	if e == nil || e.shared {
		return
	}
	e.shared = true
	b.askable--
	b.mark(e)
}

// mark has the rows know whether a session can be asked about.
func (b *book) mark(e *entry) { b.rows.Ask(&e.Row, e.askable()) }

// addressOf is a session's IPv4 address, whatever the privacy settings make of it.
func (s *Settings) addressOf(of *events.Session) netip.Addr {
	if s.AddressOf != nil {
		return ipv4(s.AddressOf(of))
	}
	return ipv4(of.DeviceIP)
}

// locate notes where the sessions of an answer are, or were.
func (c *checks) locate(sessions []events.Session) {
	b := &c.roster.book
	for i := range sessions {
		s := &sessions[i]
		a := c.addressOf(s)
		e := c.roster.find(s.ID)
		if e != nil && s.Online {
			// A record without it does not say that there is none.
			if was := e.address(); a.IsValid() && a != was {
				if was.IsValid() {
					c.moved()
				}
				b.enter(e, a)
				c.starts.See(s.StartedAt.Unix())
			}
			continue
		}
		// Somebody else was there since: the platform may answer for that session, though
		// it is nobody that is watched, or has ended.
		o, _ := b.who(a)
		if first := b.slots.of(o.first); first != nil && first.ID != s.ID && (s.Online || s.StartedAt.IsZero() || !s.StartedAt.Before(first.Start)) {
			b.share(first)
		}
	}
}
