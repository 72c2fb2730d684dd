package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrPrivateAddress is wrapped by the error of a delivery whose endpoint's name
// leads to an address that is not on the public internet.
var ErrPrivateAddress = errors.New("not a public address")

// special lists what the IANA special-purpose registries keep apart from public
// unicast, in IPv4 and within 2000::/3. Outside of 2000::/3 no IPv6 address is
// public, so private, link-local, multicast and mapped forms need no entry.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23",     // protocol assignments, with Teredo, which carries IPv4
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4, which carries IPv4
	"3fff::/20",     // documentation
)

var (
	global6 = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// public reports whether a is a public unicast address. IPv4-mapped and NAT64
// addresses are judged by the IPv4 address that they carry.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !global6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// guard is a net.Dialer.Control that refuses addresses that allow does not take.
// It sees the address that is being connected to, after the name was resolved,
// so that a name cannot be checked as one address and dialled as another.
func guard(allow func(netip.Addr) bool) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("address %q: %w", address, ErrPrivateAddress)
		}
		if !allow(ap.Addr()) {
			return fmt.Errorf("%s: %w; set allow_private for the endpoint if this is meant", ap.Addr(), ErrPrivateAddress)
		}
		return nil
	}
}
