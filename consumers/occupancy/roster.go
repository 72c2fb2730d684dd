package occupancy

import (
	"container/heap"
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"github.com/guestflow/guestflow/events"
)

// roster is who is online in an account. Sessions refer to whatever they share by number,
// and others to them: the garbage collector looks at each thing that is pointed at, and of a
// million sessions that was most of what it had to do.
type roster struct {
	chunks  []chunk
	made    int32 // rows; sessions have the numbers of theirs, from 1 on
	vacant  numbers
	online  int
	first   map[uint32]int32 // by the hash of the id; others that have the same follow by next
	hash    func(id string) uint32
	places  []*area // locations, in the order of their numbers
	traits  pool
	scratch []byte
}

// chunkRows fill 4 KiB, which is a size that the runtime has.
const chunkRows = 34

// numbers are a heap: the lowest one is taken first, so that the last chunks are empty some
// time after a peak.
type numbers []int32

func (n numbers) Len() int           { return len(n) }
func (n numbers) Less(i, j int) bool { return n[i] < n[j] }
func (n numbers) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }

// Push is heap.Interface's.
func (n *numbers) Push(x any) { *n = append(*n, x.(int32)) }

// Pop is heap.Interface's.
func (n *numbers) Pop() any {
	last := len(*n) - 1
	x := (*n)[last]
	*n = (*n)[:last]
	return x
}

// chunk is some rows, and the texts of their sessions; the zero chunk while it has none. No text is written over, so what was
// cut out of one stays as it is: where there is no room for another, those that are still
// somebody's go elsewhere together.
type chunk struct {
	rows *[chunkRows]row
	used int              // rows that are not vacant
	text string           // what room has
	room *strings.Builder // nil of a copy
}

// row is what an online session has for itself, besides its texts.
type row struct {
	revision, episode            int64
	sequence                     uint64 // of its last event
	doubtedAt                    int64  // uncertain since, as far as noted
	startedAt, seenAt            int64
	cameAt                       int64 // online since, or back online since
	enteredAt                    int64 // at this place since
	countedAt                    int64 // in this place's curve since
	duration, downloaded, upload int64
	text                         uint32 // where in its chunk's its texts begin
	place                        int32  // the number of its location; 0 in a vacant row
	at                           int32  // where it stands among those who are there
	next                         int32  // a session whose id has the same hash
	traits                       int32  // in the pool
}

// session is one that is online; without a row it is none.
type session struct {
	*row
	number int32
	own    string // begins with its texts, each after its length
}

// The texts of a session that hardly two share, in the order in which they stand in own.
const (
	ownID = iota
	ownGuest
	ownYas
	ownMAC
	ownIP
	ownCode
	ownName // who an event said the guest is
	ownEmail
	ownTexts
)

func (s *session) text(i int) string {
	text, rest := cut(s.own)
	for ; i > 0; i-- {
		text, rest = cut(rest)
	}
	return text
}

// cut returns the first text, and those after it.
func cut(own string) (text, rest string) {
	length := 0
	for i := range len(own) {
		length |= int(own[i]&0x7f) << (7 * i)
		if own[i] < 0x80 {
			return own[i+1 : i+1+length], own[i+1+length:]
		}
	}
	return "", ""
}

func (s *session) id() string    { return s.text(ownID) }
func (s *session) guest() string { return s.text(ownGuest) }
func (s *session) mac() string   { return s.text(ownMAC) }

func newRoster() roster {
	return roster{first: map[uint32]int32{}, hash: hashOf, traits: newPool()}
}

// of returns the session with a number.
func (r *roster) of(number int32) session {
	return r.chunks[(number-1)/chunkRows].session(number)
}

func (c *chunk) session(number int32) session {
	w := &c.rows[(number-1)%chunkRows]
	return session{w, number, c.text[w.text:]}
}

// place is the location of a session.
func (r *roster) place(s session) *area { return r.places[s.row.place-1] }

// find returns the session with an id, or none.
func (r *roster) find(id string) session {
	for n := r.first[r.hash(id)]; n != 0; {
		s := r.of(n)
		if s.id() == id {
			return s
		}
		n = s.next
	}
	return session{}
}

// each yields those that are online, who may go meanwhile.
func (r *roster) each() iter.Seq[session] {
	return func(yield func(session) bool) {
		for i := range r.chunks {
			c := &r.chunks[i]
			for j := 0; j < chunkRows && c.rows != nil; j++ {
				if c.rows[j].place != 0 && !yield(c.session(int32(i*chunkRows+j+1))) {
					return
				}
			}
		}
	}
}

// add makes a session known that has these texts; it has no place yet.
func (r *roster) add(texts [ownTexts]string) session {
	var n int32
	if len(r.vacant) > 0 {
		n = heap.Pop(&r.vacant).(int32)
	} else {
		if r.made%chunkRows == 0 {
			r.chunks = append(r.chunks, chunk{})
		}
		r.made++
		n = r.made
	}
	c := &r.chunks[(n-1)/chunkRows]
	if c.used++; c.rows == nil {
		c.rows = new([chunkRows]row)
	}
	s := session{row: &c.rows[(n-1)%chunkRows], number: n}
	r.identify(&s, texts)
	h := r.hash(s.id())
	s.next, r.first[h] = r.first[h], n
	r.online++
	return s
}

// remove forgets a session; nothing may be asked of it any more.
func (r *roster) remove(s session) {
	h := r.hash(s.id())
	switch n := r.first[h]; {
	case n != s.number:
		for r.of(n).next != s.number {
			n = r.of(n).next
		}
		r.of(n).next = s.next
	case s.next != 0:
		r.first[h] = s.next
	default:
		delete(r.first, h)
	}
	r.traits.give(s.row.traits)
	*s.row = row{}
	heap.Push(&r.vacant, s.number)
	if c := &r.chunks[(s.number-1)/chunkRows]; c.used == 1 {
		*c = chunk{}
	} else {
		c.used--
	}
	r.online--
}

// identify sets the texts of a session, unless they are the same.
func (r *roster) identify(s *session, texts [ownTexts]string) {
	b := r.scratch[:0]
	for _, text := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	r.scratch = b
	if len(s.own) >= len(b) && s.own[:len(b)] == string(b) {
		return
	}
	c := &r.chunks[(s.number-1)/chunkRows]
	if c.room == nil || c.room.Cap()-c.room.Len() < len(b) {
		c.renew(s.row, len(b))
	}
	s.row.text = uint32(c.room.Len())
	c.room.Write(b)
	c.text = c.room.String()
	s.own = c.text[s.row.text:]
}

// renew makes room for a new text of a row, and leaves behind what is nobody's any more.
func (c *chunk) renew(of *row, size int) {
	size += c.kept(of, func(*row, string) {})
	room := &strings.Builder{}
	if c.room == nil { // for all of them, by the first
		room.Grow(max(size, min((chunkRows+2)*size, 8<<10)))
	} else {
		room.Grow(size + size/2)
	}
	c.kept(of, func(w *row, own string) {
		w.text = uint32(room.Len())
		room.WriteString(own)
	})
	c.text, c.room = room.String(), room
}

// kept calls f with the texts of all sessions but one, and returns how long they are.
func (c *chunk) kept(but *row, f func(w *row, own string)) (size int) {
	for i := range c.rows {
		w := &c.rows[i]
		if w.place == 0 || w == but {
			continue
		}
		own := c.text[w.text:]
		rest := own
		for range ownTexts {
			_, rest = cut(rest)
		}
		own = own[:len(own)-len(rest)]
		size += len(own)
		f(w, own)
	}
	return size
}

// after returns the texts that a session, or none, has after an event.
func (s *session) after(e *events.Event) [ownTexts]string {
	d := &e.Data.Session
	name, email := s.text(ownName), s.text(ownEmail)
	if g := e.Data.Guest; g != nil {
		name, email = g.Name, g.Email
	} else if s.guest() != d.GuestID {
		name, email = "", ""
	}
	return [ownTexts]string{d.ID, d.GuestID, d.YasID, d.DeviceMAC, d.DeviceIP, d.AccessCode, name, email}
}

// fill takes over what the event with this sequence says of a session.
func (r *roster) fill(s *session, e *events.Event, sequence uint64) {
	d := &e.Data.Session
	r.identify(s, s.after(e))
	r.share(s, traits{d.DeviceDescription, d.LoginType, d.ServiceProfile})
	s.revision, s.episode = e.Data.Revision, e.Data.Episode
	s.startedAt, s.seenAt = toMillis(d.StartedAt), toMillis(e.Data.Observed.At)
	s.duration, s.downloaded, s.upload = max(0, d.DurationSeconds), d.Downloaded.Value, d.Uploaded.Value
	s.sequence, s.doubtedAt = sequence, 0
}

// share sets what a session shares; it seldom changes.
func (r *roster) share(s *session, t traits) {
	if was := s.row.traits; r.traits.of(was) != t {
		s.row.traits = r.traits.take(t)
		r.traits.give(was)
	}
}

// copy returns one to read while the roster changes.
func (r *roster) copy() *roster {
	c := &roster{chunks: make([]chunk, len(r.chunks)), online: r.online, places: r.places, traits: pool{all: slices.Clone(r.traits.all)}}
	used := 0
	for i := range r.chunks {
		if r.chunks[i].rows != nil {
			used++
		}
	}
	rows := make([][chunkRows]row, 0, used) // has room for all: they are pointed at
	for i, from := range r.chunks {
		if from.rows != nil {
			rows = append(rows, *from.rows)
			c.chunks[i] = chunk{rows: &rows[len(rows)-1], text: from.text}
		}
	}
	return c
}

// traits are what many sessions have in common.
type traits struct{ description, login, profile string }

// pool numbers traits, and keeps them as long as a session has them. Those that are empty
// have the number 0.
type pool struct {
	at   map[traits]int32
	all  []pooled
	free []int32
}

type pooled struct {
	traits
	uses int32
}

func newPool() pool { return pool{at: map[traits]int32{}, all: make([]pooled, 1)} }

func (p *pool) of(n int32) traits { return p.all[n].traits }

func (p *pool) take(t traits) int32 {
	if t == (traits{}) {
		return 0
	}
	n, known := p.at[t]
	if !known {
		if last := len(p.free) - 1; last >= 0 {
			n, p.free = p.free[last], p.free[:last]
		} else {
			n, p.all = int32(len(p.all)), append(p.all, pooled{})
		}
		// The texts alone, not the document that they may be parts of.
		t = traits{strings.Clone(t.description), strings.Clone(t.login), strings.Clone(t.profile)}
		p.all[n].traits, p.at[t] = t, n
	}
	p.all[n].uses++
	return n
}

func (p *pool) give(n int32) {
	if n == 0 {
		return
	}
	if p.all[n].uses--; p.all[n].uses == 0 {
		delete(p.at, p.all[n].traits)
		p.all[n] = pooled{}
		p.free = append(p.free, n)
	}
}
