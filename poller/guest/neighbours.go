package guest

import (
	"net/netip"

	"github.com/guestflow/guestflow/events"
)

// neighbours are the sessions that are known to be online, by address: private
// addresses are in use at several venues at once, and the platform names guests by
// address alone. Each call takes the same time, however many share an address.
type neighbours struct {
	sessions map[string]resident // by session id
	count    map[string]int      // sessions by address
	same     map[resident]int    // and by guest, where that is known
}

// resident is where a session is, and whose it is.
type resident struct{ address, guest string }

// mostResidents bounds what is remembered. Beyond, nobody can say any more who is
// alone at an address, so every address counts as shared.
const mostResidents = 200_000

func newNeighbours() neighbours {
	return neighbours{sessions: make(map[string]resident), count: make(map[string]int), same: make(map[resident]int)}
}

func (n *neighbours) stay(id, guest, address string) {
	now := resident{address, guest}
	was, known := n.sessions[id]
	if known && was == now {
		return
	}
	n.leave(id)
	if address == "" || len(n.sessions) >= mostResidents {
		return
	}
	n.sessions[id] = now
	n.count[address]++
	if guest != "" {
		n.same[now]++
	}
}

func (n *neighbours) leave(id string) {
	was, known := n.sessions[id]
	if !known {
		return
	}
	delete(n.sessions, id)
	release(n.count, was.address)
	if was.guest != "" {
		release(n.same, was)
	}
}

func release[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// shared reports whether anybody else is at an address. Several sessions of one
// guest name the same guest, whichever of them the platform describes.
func (n *neighbours) shared(id, guest, address string) bool {
	if len(n.sessions) >= mostResidents {
		return true
	}
	others := n.count[address]
	if guest != "" {
		others -= n.same[resident{address, guest}]
	} else if n.sessions[id].address == address {
		others--
	}
	return others > 0
}

// addressOf returns the address to ask by, empty where there is none.
func addressOf(s *events.Session, hidden func(*events.Session) string) string {
	text := s.DeviceIP
	if hidden != nil {
		text = hidden(s)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}
