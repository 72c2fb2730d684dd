package simulator

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AddressGone is what the look-up by address answers for an address whose session has
// ended, which is not documented.
type AddressGone int

// The answers for an address whose session has ended.
const (
	// GoneLeftOut: nothing, and 404 to a question about that address alone.
	GoneLeftOut AddressGone = iota
	// GoneNotFound: 404 to every question with such an address in it.
	GoneNotFound
	// GoneLatest: as GoneLeftOut, by the session that got the address last: once it has
	// ended, an older one at another venue that is still online is not found either.
	GoneLatest
	// GoneStale: the session that got the address last, with the duration that it had
	// at its end.
	GoneStale
	// GoneLasting: that session, with a duration that goes on as if it were online.
	GoneLasting
)

var addressGoneNames = [...]string{"left-out", "not-found", "latest", "stale", "lasting"}

// String returns the name that ParseAddressGone reads.
func (g AddressGone) String() string {
	if g < 0 || int(g) >= len(addressGoneNames) {
		return fmt.Sprintf("AddressGone(%d)", int(g))
	}
	return addressGoneNames[g]
}

// ParseAddressGone reads left-out, not-found, latest, stale or lasting.
func ParseAddressGone(s string) (AddressGone, error) {
	i := slices.Index(addressGoneNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("gone address %q: use %s", s, strings.Join(addressGoneNames[:], ", "))
	}
	return AddressGone(i), nil
}

// AddressSharing is which sessions have an address that nobody else has.
type AddressSharing int

// Which addresses are in use once.
const (
	// AddressesUnique: all, as long as Config.IPPool has any.
	AddressesUnique AddressSharing = iota
	// AddressesHalf: those of every other session; the rest are as AddressesPerVenue.
	AddressesHalf
	// AddressesPerVenue: none for sure: each venue numbers its devices for itself, all
	// beginning at 192.168.0.0, so the address is in use at others too.
	AddressesPerVenue
)

var addressSharingNames = [...]string{"unique", "half", "venue"}

// String returns the name that ParseAddressSharing reads.
func (a AddressSharing) String() string {
	if a < 0 || int(a) >= len(addressSharingNames) {
		return fmt.Sprintf("AddressSharing(%d)", int(a))
	}
	return addressSharingNames[a]
}

// ParseAddressSharing reads unique, half or venue.
func ParseAddressSharing(s string) (AddressSharing, error) {
	i := slices.Index(addressSharingNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("addresses %q: use %s", s, strings.Join(addressSharingNames[:], ", "))
	}
	return AddressSharing(i), nil
}

// venuePool is how many addresses a venue that has so many sessions on average gives out.
func venuePool(online float64) uint64 { return uint64(min(max(16, 2*online), 1<<16)) }

// poolOf is the pool that s has its address from, and whose it is; -1 is everybody's.
func (p *population) poolOf(s *session) (base uint32, pool uint64, venue int) {
	base, pool, venue = 172<<24|16<<16, uint64(p.cfg.IPPool), -1
	if p.cfg.Addresses == AddressesPerVenue || p.cfg.Addresses == AddressesHalf && hash(s.num, 31)%2 == 0 {
		venue = s.venue
		v := &p.venues[venue]
		base, pool = 192<<24|168<<16, venuePool(v.arrivals*float64(v.stay.Mean)/p.cfg.Speed)
	}
	return base, pool, venue
}

// assignIP gives s a free address of its pool, or after 64 tries one that is in use.
func (p *population) assignIP(s *session, salt uint64) {
	h := hash(s.num, 30, salt)
	base, pool, venue := p.poolOf(s)
	taken := func(ip uint32) bool {
		return slices.ContainsFunc(p.ips[ip], func(o *session) bool { return venue < 0 || o.venue == venue })
	}
	for try := range uint64(64) {
		ip := base + uint32((h+try)%pool)
		if try == 63 || !taken(ip) {
			s.ip = ip
			p.ips[ip] = append(p.ips[ip], s)
			break
		}
	}
	if p.latest != nil {
		p.latest[s.ip] = s
	}
	s.showIP()
}

func (s *session) showIP() {
	b := make([]byte, 0, 15)
	for shift := 24; shift >= 0; shift -= 8 {
		if shift < 24 {
			b = append(b, '.')
		}
		b = strconv.AppendUint(b, uint64(byte(s.ip>>shift)), 10)
	}
	s.rec.DeviceIP = string(b)
}

func (p *population) releaseIP(s *session) {
	left := slices.DeleteFunc(p.ips[s.ip], func(o *session) bool { return o == s })
	if p.ips[s.ip] = left; len(left) == 0 {
		delete(p.ips, s.ip)
	}
}

// at returns the session that the platform answers with for an address, and its
// duration at t; nil where it finds none.
func (p *population) at(ip uint32, t int64) (*session, int64) {
	here := p.ips[ip]
	var x *session
	if len(here) > 0 {
		x = here[len(here)-1]
	}
	if p.latest != nil {
		x = p.latest[ip]
	}
	if x == nil {
		return nil, 0
	}
	duration := x.duration(t)
	if held := slices.Contains(here, x); !held {
		switch p.cfg.AddressGone {
		case GoneLasting:
			duration += max(0, t-x.end) / int64(time.Second)
		case GoneStale:
		default:
			return nil, 0
		}
	}
	if grain := int64(p.cfg.AddressGrain / time.Second); grain > 1 {
		duration -= duration % grain
	}
	return x, duration
}

// lies reports whether the look-up answers wrongly about a session, which it does for a
// minute at a time, and in which way.
func (p *population) lies(s *session, t int64) (way uint64, wrong bool) {
	if p.cfg.AddressLies == 0 || !s.online {
		return 0, false
	}
	h := hash(p.cfg.Seed, 32, s.num, uint64(t/int64(time.Minute)))
	return h >> 8 % 3, unit(mix(h)) < p.cfg.AddressLies
}

// AddressRecord is one answer of the look-up by address.
type AddressRecord struct {
	Address  netip.Addr
	Duration int64 // seconds
	guest    uint64
}

// LookUp answers the look-up by address as a client sees it that reads every record
// right; false means 404. It passes by HTTP, token, limiter and faults.
func (s *Simulator) LookUp(addresses []netip.Addr) ([]AddressRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookUp(addresses, s.advance())
}

func (s *Simulator) lookUp(addresses []netip.Addr, t int64) (found []AddressRecord, ok bool) {
	found = make([]AddressRecord, 0, len(addresses))
	for _, a := range addresses {
		if !a.Is4() {
			continue
		}
		b := a.As4()
		x, duration := s.pop.at(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]), t)
		if x == nil {
			continue
		}
		r := AddressRecord{a, duration, x.guest}
		if way, wrong := s.pop.lies(x, t); wrong {
			switch way {
			case 0: // that nobody is there
				continue
			case 1: // that another came a moment ago
				r.Duration, r.guest = 0, mix(x.guest)
			default: // that another has been there for longer
				r.Duration, r.guest = r.Duration+60+int64(x.num%7200), mix(x.guest)
			}
		}
		found = append(found, r)
	}
	missing := len(found) < len(addresses)
	if missing && (s.cfg.AddressGone == GoneNotFound || len(addresses) == 1) {
		return nil, false
	}
	return found, true
}
