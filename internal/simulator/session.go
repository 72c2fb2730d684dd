package simulator

import (
	"fmt"
	"time"

	"github.com/guestflow/guestflow/events"
)

// session is one Wi-Fi session, online or ended. Times are Unix nanoseconds on
// the platform's clock.
type session struct {
	// rec holds the identity as the platform shows it; status, end, duration and
	// figures are filled in when it is listed.
	rec   events.Session
	num   uint64 // orders as rec.ID does
	guest uint64
	venue int
	ip    uint32

	start  int64
	since  int64 // begin of the current stretch online; start, unless resumed
	end    int64 // of the current stretch, planned or past
	online bool
	// updated is when the row was written last, but for steps of its counters: see
	// population.updatedAt.
	updated int64

	forgotten bool // no longer in the history
	hidden    hidden

	seed     uint64  // of the current stretch's traffic
	perStep  float64 // bytes downloaded in an accounting interval, on average
	upShare  float64 // uploaded per downloaded byte
	down, up int64   // figures at since while online, final ones after
	seconds  int64   // spent online before since

	plan plan
}

// plan is all that happens in one stretch online, drawn when it begins.
type plan struct {
	stay     int64 // length in nanoseconds
	perStep  float64
	upShare  float64
	changeAt int64 // after the begin; 0 never
	changeIP bool  // else the service profile
	moveAt   int64 // after the begin; 0 never
	moveTo   int
	resume   bool  // comes back under its id
	roamTo   int   // -1 unless the device goes to another venue
	pause    int64 // between the end and what follows
	next     uint64
}

// blockSteps is the period of the traffic pattern, in accounting intervals.
const blockSteps = 8

// progress is the traffic after k accounting intervals, in units of an average
// interval. It never falls, stands still now and then, and is computed without
// history: each block of 8 intervals brings 8 units within a window of 4 to 8.
func progress(seed uint64, k int64) float64 {
	if k <= 0 {
		return 0
	}
	block, p := k/blockSteps, k%blockSteps
	h := hash(seed, uint64(block))
	width := 4 + int64(h%5)
	first := int64((h >> 8) % uint64(blockSteps-width+1))
	done := 0.0
	switch {
	case p >= first+width:
		done = 1
	case p >= first:
		done = (float64(p-first) + unit(hash(h, uint64(p)))) / float64(width)
	}
	return blockSteps * (float64(block) + done)
}

// figures returns the exact counters at t, as the last accounting step left them.
func (s *session) figures(t, interval int64) (down, up int64) {
	if !s.online {
		return s.down, s.up
	}
	return s.after(progress(s.seed, (t-s.since)/interval))
}

// final returns the counters at the end of the stretch: those of the last step
// and the part of the step that was under way.
func (s *session) final(interval int64) (down, up int64) {
	k, rest := (s.end-s.since)/interval, (s.end-s.since)%interval
	from := progress(s.seed, k)
	return s.after(from + (progress(s.seed, k+1)-from)*float64(rest)/float64(interval))
}

func (s *session) after(units float64) (down, up int64) {
	d := units * s.perStep
	return s.down + int64(d), s.up + int64(d*s.upShare)
}

// duration is the time spent online until t, in whole seconds.
func (s *session) duration(t int64) int64 {
	if !s.online {
		return s.seconds
	}
	return s.seconds + max(0, t-s.since)/int64(time.Second)
}

// person is who uses a device, made up from the guest's number.
type person struct{ username, name, email string }

var (
	givenNames  = [...]string{"Ada", "Bilal", "Chiara", "Deniz", "Emre", "Fatma", "Grace", "Hiro", "Ines", "Jonas", "Katya", "Liam", "Mei", "Noor", "Oskar", "Priya", "Quinn", "Rosa", "Selin", "Tomás", "Uma", "Viktor", "Wanjiru", "Yara"}
	familyNames = [...]string{"Aydın", "Bauer", "Costa", "Demir", "Eriksen", "Fischer", "García", "Haddad", "Ito", "Jansen", "Kaya", "Lindqvist", "Moreau", "Novak", "Okafor", "Patel", "Rossi", "Sato", "Tanaka", "Usman", "Vega", "Weber", "Yilmaz", "Zhang"}
	agents      = [...]string{"WebKit", "iPhone", "Android", "Windows 10", "Mac OS X", "iPad", "Chrome OS", "Linux"}
	logins      = [...]string{"Registration", "SMS", "Social Login", "Access Code", "Click Through"}
	profiles    = [...]string{"Default Service Profile - 60 Minute(s)", "Premium - 24 Hour(s)", "Staff", "Guest - 2 Mbps", "Conference"}
)

func personOf(guest uint64) person {
	given := givenNames[hash(guest, 1)%uint64(len(givenNames))]
	family := familyNames[hash(guest, 2)%uint64(len(familyNames))]
	return person{
		username: fmt.Sprintf("%08X", uint32(hash(guest, 3))),
		name:     given + " " + family,
		email:    fmt.Sprintf("guest%d@example.com", hash(guest, 4)%1e9),
	}
}

// identity fills in what the platform shows about guest and device.
func (s *session) identity(device int, v *Location) {
	g := s.guest
	d := deviceOf(g, device)
	s.rec = events.Session{
		ID:                shortID(s.num),
		LocationID:        v.ID,
		LocationName:      v.Name,
		GuestID:           shortID(mix(g)),
		YasID:             yasOf(g),
		DeviceMAC:         macOf(d),
		DeviceDescription: agents[hash(d, 1)%uint64(len(agents))],
		LoginType:         logins[hash(g, 13)%uint64(len(logins))],
		ServiceProfile:    profiles[hash(g, 14)%uint64(len(profiles))],
	}
	if s.rec.LoginType == "Access Code" {
		s.rec.AccessCode = fmt.Sprintf("%06d", hash(g, 15)%1e6)
	}
}

// startedAt is what is shown of a start.
func (cfg *Config) startedAt(t int64) time.Time {
	return time.Unix(0, t).UTC().Truncate(time.Second).Truncate(cfg.StartGrain)
}

func deviceOf(guest uint64, device int) uint64 { return hash(guest, 10, uint64(device)) }

const hexDigits = "0123456789abcdef"

// macOf makes a locally administered unicast address.
func macOf(h uint64) string {
	b := make([]byte, 0, 17)
	for i := range 6 {
		o := byte(h >> (8 * i))
		if i == 0 {
			o = o&^1 | 2
		} else {
			b = append(b, ':')
		}
		b = append(b, hexDigits[o>>4], hexDigits[o&15])
	}
	return string(b)
}

func yasOf(guest uint64) string { return uuid(hash(guest, 11), hash(guest, 12)) }

func uuid(hi, lo uint64) string {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	b := make([]byte, 0, 36)
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			b = append(b, '-')
		}
		v := hi
		if i >= 16 {
			v = lo
		}
		b = append(b, hexDigits[v>>(60-4*(i%16))&15])
	}
	return string(b)
}
