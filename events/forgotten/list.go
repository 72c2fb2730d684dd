package forgotten

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/guestflow/guestflow/events"
)

// Kind says what a mark is made of.
type Kind string

// The kinds of marks.
const (
	GuestID Kind = "guest_id"
	Email   Kind = "email" // in small letters
	MAC     Kind = "device_mac"
	Session Kind = "session"
	// keyed is the kind of a mark that every entry has, so that a wrong key shows.
	keyed Kind = "key"
)

// markBytes of the HMAC-SHA256 are kept: enough that no two people share a mark.
const markBytes = 16

type mark [markBytes]byte

// Mark returns the mark of a value, in hexadecimal digits. An empty account stands for
// every account.
func Mark(key string, k Kind, account, value string) string {
	m := markOf(key, k, account, value)
	return hex.EncodeToString(m[:])
}

func markOf(key string, k Kind, account, value string) (m mark) {
	if k == Email {
		value = strings.ToLower(value)
	}
	h := hmac.New(sha256.New, []byte(key))
	for _, field := range [...]string{"forgotten", string(k), account, value} {
		h.Write(strconv.AppendInt(nil, int64(len(field)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(field))
	}
	copy(m[:], h.Sum(nil))
	return m
}

// List says who is forgotten. Its methods may be called concurrently, and on nil, which
// has nobody.
type List struct {
	key   string
	mu    sync.RWMutex
	marks map[mark]bool
}

// NewList returns a list that has nobody yet. Without the key that the marks were made
// with, it finds nobody.
func NewList(key string) *List { return &List{key: key, marks: map[mark]bool{}} }

// Add puts marks on the list; what is no mark is left out.
func (l *List) Add(marks []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range marks {
		var m mark
		if n, err := hex.Decode(m[:], []byte(text)); err == nil && n == markBytes && len(text) == 2*markBytes {
			l.marks[m] = true
		}
	}
}

// Marks returns all that is on the list, sorted.
func (l *List) Marks() []string {
	if l == nil {
		return nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []string
	for m := range maps.Keys(l.marks) {
		all = append(all, hex.EncodeToString(m[:]))
	}
	slices.Sort(all)
	return all
}

// KeyMark is a mark that belongs to each entry.
func KeyMark(key string) string { return Mark(key, keyed, "", "key") }

// Readable reports whether the list's key is the one that its marks were made with.
func (l *List) Readable() bool { return l.Empty() || l.Has(keyed, "", "key") }

// Empty reports whether nobody is on the list.
func (l *List) Empty() bool {
	if l == nil {
		return true
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.marks) == 0
}

// Has reports whether a value is on the list, for its account or for all.
func (l *List) Has(k Kind, account, value string) bool {
	if value == "" || l.Empty() {
		return false
	}
	one, all := markOf(l.key, k, account, value), markOf(l.key, k, "", value)
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.marks[one] || l.marks[all]
}

// Names reports whether a session is of somebody on the list.
func (l *List) Names(account string, s *events.Session) bool {
	return l.Is(account, s.GuestID, s.DeviceMAC, nil) || l.Has(Session, account, s.ID)
}

// Is reports whether somebody of an account, known by what of these is not empty, is on the
// list. Guest may be nil.
func (l *List) Is(account, guestID, mac string, guest *events.Guest) bool {
	return !l.Empty() && (l.Has(GuestID, account, guestID) || l.Has(MAC, account, mac) || guest != nil && l.Has(Email, account, guest.Email))
}

// Cleanse has an event forget whom the list says to, and reports whether it was to.
func (l *List) Cleanse(e *events.Event) bool {
	if l.Empty() {
		return false
	}
	if s := &e.Data.Session; l.Names(e.Account, s) || l.Is(e.Account, s.GuestID, s.DeviceMAC, e.Data.Guest) {
		e.Forget()
		return true
	}
	p := e.Data.Previous
	if p == nil {
		return false
	}
	was := func(k Kind, v *string) bool { return v != nil && l.Has(k, e.Account, *v) }
	if !was(GuestID, p.GuestID) && !was(MAC, p.DeviceMAC) {
		return false
	}
	e.ForgetPrevious() // the session has passed on to somebody else
	return true
}
