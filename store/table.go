package store

import (
	"encoding/binary"
	"hash/maphash"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// table holds the states of all sessions that are online, each in one text of some 150
// bytes, so that nothing need be read from the file to compare them, and so that the
// garbage collector has next to nothing to look through. Texts that sessions share are
// kept once.
type table struct {
	rows    map[uint64]spot // by the hash of the id; see pack
	twins   map[string]spot // by id, those whose hash another one has: hardly ever any
	hash    func(id string) uint64
	pile    pile
	at      map[string]int // how many are at a location
	texts   pool
	scratch []byte
}

func newTable() table {
	seed := maphash.MakeSeed()
	return table{
		rows: make(map[uint64]spot), twins: make(map[string]spot), hash: func(id string) uint64 { return maphash.String(seed, id) },
		at: make(map[string]int), texts: pool{at: make(map[string]uint32)},
	}
}

// len is how many there are.
func (t *table) len() int { return len(t.rows) + len(t.twins) }

// find returns where the row of a session is, and the row without the id.
func (t *table) find(id string) (s spot, row packed, ok bool) {
	if s, ok = t.rows[t.hash(id)]; ok {
		if is, row := cutID(t.pile.text(s)); is == id {
			return s, row, true
		}
		if s, ok = t.twins[id]; ok {
			_, row = cutID(t.pile.text(s))
			return s, row, true
		}
	}
	return spot{}, "", false
}

// cutID returns the id of a row, and the rest.
func cutID(row string) (id string, rest packed) {
	in := packed(row)
	n := in.uvarint()
	return string(in[:n]), in[n:]
}

// set keeps a state, and the number that its session has in the file; one that is not
// online is forgotten.
func (t *table) set(st *events.State, number uint64) {
	id, location := st.Session.ID, st.Session.LocationID
	t.remove(id)
	if !st.Session.Online {
		return
	}
	s := t.pile.add(t.pack(st, number))
	if h := t.hash(id); t.taken(h) {
		t.twins[strings.Clone(id)] = s
	} else {
		t.rows[h] = s
	}
	if t.at[location] == 0 {
		// The text alone, not the record or document that it is a part of.
		location = strings.Clone(location)
	}
	t.at[location]++
}

func (t *table) taken(hash uint64) bool {
	_, taken := t.rows[hash]
	return taken
}

func (t *table) remove(id string) {
	s, row, ok := t.find(id)
	if !ok {
		return
	}
	st := unpack(id, row, func(text *string, shared uint32) {
		*text = t.texts.of(shared)
		t.texts.give(shared)
	})
	location := st.Session.LocationID
	if t.at[location]--; t.at[location] == 0 {
		delete(t.at, location)
	}
	if _, twin := t.twins[id]; twin {
		delete(t.twins, id)
	} else {
		t.free(t.hash(id))
	}
	if t.pile.remove(s) {
		t.tidy(s.chunk)
	}
}

// free gives a hash up, which a twin then takes: find looks for one only where it is taken.
func (t *table) free(hash uint64) {
	delete(t.rows, hash)
	for id, s := range t.twins {
		if t.hash(id) == hash {
			t.rows[hash] = s
			delete(t.twins, id)
			return
		}
	}
}

// tidy moves what is kept in a chunk to another one.
func (t *table) tidy(chunk uint32) {
	t.pile.each(chunk, func(was spot, row string) {
		id, _ := cutID(row)
		if s, _, ok := t.find(id); !ok || s != was {
			return
		}
		if _, twin := t.twins[id]; twin {
			t.twins[id] = t.pile.add(row)
		} else {
			t.rows[t.hash(id)] = t.pile.add(row)
		}
	})
	t.pile.drop(chunk)
}

// each calls f with the id and the location of each session.
func (t *table) each(f func(id, location string)) {
	of := func(s spot) {
		id, row := cutID(t.pile.text(s))
		st := t.unpack(id, row)
		f(id, st.Session.LocationID)
	}
	for _, s := range t.rows {
		of(s)
	}
	for _, s := range t.twins {
		of(s)
	}
}

// get returns the state of a session that is online.
func (t *table) get(id string) (st events.State, ok bool) {
	_, row, ok := t.find(id)
	if !ok {
		return st, false
	}
	return t.unpack(id, row), true
}

func (t *table) unpack(id string, row packed) events.State {
	return unpack(id, row, func(text *string, shared uint32) { *text = t.texts.of(shared) })
}

// revision returns that of a session that is online, else zero.
func (t *table) revision(id string) int64 {
	revision, _ := t.place(id)
	return revision
}

// number returns the number that a session has in the file; zero where it is not online.
func (t *table) number(id string) uint64 {
	_, number := t.place(id)
	return number
}

// place returns both.
func (t *table) place(id string) (revision int64, number uint64) {
	_, row, ok := t.find(id)
	if !ok {
		return 0, 0
	}
	revision = row.varint()
	return revision, row.uvarint()
}

// pack returns the row of a state: its id, its numbers and times, how long its own texts
// are and where in the pool those are that it shares, and its own texts.
func (t *table) pack(st *events.State, number uint64) string {
	s := &st.Session
	b := append(binary.AppendUvarint(t.scratch[:0], uint64(len(s.ID))), s.ID...)
	b = binary.AppendUvarint(binary.AppendVarint(b, st.Revision), number)
	for _, n := range [...]int64{
		st.Episode, s.DurationSeconds,
		s.Downloaded.Value, s.Downloaded.Error, s.Uploaded.Value, s.Uploaded.Error,
	} {
		b = binary.AppendVarint(b, n)
	}
	for _, at := range [...]time.Time{st.SeenAt, s.StartedAt, s.EndedAt} {
		b = appendTimeIf(b, at)
	}
	all := texts(s)
	for i, text := range all {
		if i < ownTexts {
			b = binary.AppendUvarint(b, uint64(len(*text)))
		} else {
			b = binary.AppendUvarint(b, uint64(t.texts.take(*text)))
		}
	}
	for _, text := range all[:ownTexts] {
		b = append(b, *text...)
	}
	t.scratch = b
	return string(b)
}

// unpack returns the state of a row without its id, and calls share with each text that others may have
// as well, and its place in the pool.
func unpack(id string, in packed, share func(text *string, shared uint32)) (st events.State) {
	s := &st.Session
	s.ID, s.Online, st.Revision = id, true, in.varint()
	in.uvarint() // its number in the file
	for _, n := range [...]*int64{
		&st.Episode, &s.DurationSeconds,
		&s.Downloaded.Value, &s.Downloaded.Error, &s.Uploaded.Value, &s.Uploaded.Error,
	} {
		*n = in.varint()
	}
	for _, at := range [...]*time.Time{&st.SeenAt, &s.StartedAt, &s.EndedAt} {
		*at = in.optionalTime()
	}
	all := texts(s)
	var lengths [ownTexts]uint64
	for i := range lengths {
		lengths[i] = in.uvarint()
	}
	for _, text := range all[ownTexts:] {
		share(text, uint32(in.uvarint()))
	}
	for i, n := range lengths {
		*all[i], in = string(in[:n]), in[n:]
	}
	return st
}

// packed is the rest of a row. Unlike an input it was written by this process.
type packed string

func (p *packed) uvarint() (v uint64) {
	for i := 0; ; i++ {
		b := (*p)[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			*p = (*p)[i+1:]
			return v
		}
	}
}

func (p *packed) varint() int64 {
	v := p.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (p *packed) optionalTime() time.Time {
	if p.uvarint() == 0 {
		return time.Time{}
	}
	seconds := p.varint()
	return time.Unix(seconds, int64(p.uvarint())).UTC()
}

// pool keeps texts, each once, as long as somebody has them. The empty text is 0.
type pool struct {
	at    map[string]uint32
	texts []pooled
	free  []uint32
}

type pooled struct {
	text string
	uses int32
}

func (p *pool) of(at uint32) string {
	if at == 0 {
		return ""
	}
	return p.texts[at-1].text
}

func (p *pool) take(text string) uint32 {
	if text == "" {
		return 0
	}
	at, ok := p.at[text]
	switch {
	case ok:
	case len(p.free) > 0:
		at, p.free = p.free[len(p.free)-1], p.free[:len(p.free)-1]
	default:
		p.texts = append(p.texts, pooled{})
		at = uint32(len(p.texts))
	}
	e := &p.texts[at-1]
	if !ok {
		// The text alone, not the record or document that it is a part of.
		e.text = string([]byte(text))
		p.at[e.text] = at
	}
	e.uses++
	return at
}

func (p *pool) give(at uint32) {
	if at == 0 {
		return
	}
	e := &p.texts[at-1]
	if e.uses--; e.uses > 0 {
		return
	}
	delete(p.at, e.text)
	e.text = ""
	p.free = append(p.free, at)
}

// remembered has the table, read from the file the first time; log must be held, so
// that nothing is written meanwhile.
func (s *Store) remembered() error {
	s.known.RLock()
	there := s.online.rows != nil
	s.known.RUnlock()
	if there {
		return nil
	}
	t := newTable()
	err := s.view("read all sessions", func(tx *bbolt.Tx) error {
		defer release(tx)
		var r stateReader
		return tx.Bucket(bucketOnline).ForEach(func(k, v []byte) error {
			s.touch(tx, int64(len(v)))
			var st events.State
			number, err := r.readOnline(k, v, &st)
			if err != nil {
				return err
			}
			if t.number(st.Session.ID) > 0 {
				return damaged("session %q is there twice", st.Session.ID)
			}
			t.set(&st, number)
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.known.Lock()
	defer s.known.Unlock()
	s.online = t
	return nil
}

// recollected is remembered for who does not hold log.
func (s *Store) recollected() error {
	s.known.RLock()
	loaded := s.online.rows != nil
	s.known.RUnlock()
	if loaded {
		return s.usable()
	}
	s.log.Lock()
	defer s.log.Unlock()
	return s.remembered()
}

// deserted reports whether nobody is online at a location, as far as the file has it.
func (s *Store) deserted(location string) bool {
	s.known.RLock()
	defer s.known.RUnlock()
	return s.online.at[location] == 0
}

// State returns what is known of a session: online in whatever location, or ended less
// than EndedRetention ago. Changes that were staged count. Of sessions that are online
// nothing is read from the file but the first time.
func (s *Store) State(id string) (st events.State, ok bool, err error) {
	s.known.RLock()
	loaded := s.online.rows != nil
	if at, staged := s.ahead[id]; staged {
		st, ok = at.state, true
	} else if loaded {
		st, ok = s.online.get(id)
	}
	s.known.RUnlock()
	switch {
	case ok:
		return st, true, s.usable()
	case !loaded:
		if err := s.recollected(); err != nil {
			return st, false, err
		}
		return s.State(id)
	}
	if !s.ends.Load() {
		return st, false, s.usable()
	}
	err = s.view("look up a session", func(tx *bbolt.Tx) error {
		var record []byte
		s.touch(tx, mapped)
		if record, err = endedRecord(tx.Bucket(bucketEnded), id); record == nil {
			return err
		}
		ok = true
		var r stateReader
		return r.read([]byte(id), record, &st)
	})
	return st, ok && err == nil, err
}

// endedRecord returns the state of a session that has ended, as it is in the file; nil of
// one of which nothing is known.
func endedRecord(ended *bbolt.Bucket, id string) ([]byte, error) {
	record := ended.Get([]byte(id))
	if record == nil {
		return nil, nil
	}
	if len(record) < 8 {
		return nil, damaged("ended session %q cannot be read", id)
	}
	return record[8:], nil
}

// revisions returns those of the sessions of some changes, as State would.
func (s *Store) revisions(changes []events.Event) (map[string]int64, error) {
	if err := s.recollected(); err != nil {
		return nil, err
	}
	was := make(map[string]int64, len(changes))
	var unknown []string
	s.known.RLock()
	for i := range changes {
		id := changes[i].Data.Session.ID
		if _, twice := was[id]; twice {
			continue
		}
		at, staged := s.ahead[id]
		if was[id] = at.state.Revision; !staged {
			was[id] = s.online.revision(id)
		}
		if was[id] == 0 {
			unknown = append(unknown, id)
		}
	}
	s.known.RUnlock()
	if len(unknown) == 0 || !s.ends.Load() {
		return was, s.usable()
	}
	err := s.view("look up sessions", func(tx *bbolt.Tx) error {
		s.touch(tx, mapped*int64(len(unknown)))
		for _, id := range unknown {
			record, err := endedRecord(tx.Bucket(bucketEnded), id)
			if err == nil && record != nil {
				was[id], err = stateRevision([]byte(id), record)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return was, err
}
