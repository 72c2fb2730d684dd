package platform

import (
	"sync"

	"github.com/guestflow/guestflow/events"
)

// addressesKept bounds what addresses remember: two generations of half of it.
const addressesKept = 100_000

// addresses are the IP addresses of sessions as the platform shows them, in
// memory alone: guests are looked up by them, also where the privacy settings
// keep them out of events and files.
type addresses struct {
	mu           sync.Mutex
	newer, older map[string]string // by session id
}

func (a *addresses) set(session, ip string) {
	if session == "" || ip == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.newer) >= addressesKept/2 {
		a.newer, a.older = nil, a.newer
	}
	if a.newer == nil {
		a.newer = make(map[string]string)
	}
	a.newer[session] = ip
}

// Address returns the IP address that the session had when it was shown last,
// whatever the privacy settings make of it in events; empty where it is not
// remembered. It is meant for Guests, and must not be stored.
func (c *Client) Address(s *events.Session) string {
	if !c.hidesIP() {
		return s.DeviceIP
	}
	c.addresses.mu.Lock()
	defer c.addresses.mu.Unlock()
	if ip, ok := c.addresses.newer[s.ID]; ok {
		return ip
	}
	return c.addresses.older[s.ID]
}

func (c *Client) hidesIP() bool { return c.cfg.Privacy.IP == Hash || c.cfg.Privacy.IP == Drop }
