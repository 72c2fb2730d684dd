package store

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// table holds the states of all sessions that are online, each in one text of some 150
// bytes, so that nothing need be read from the file to compare them, and so that the
// garbage collector has little to look through. Texts that sessions share are kept once.
type table struct {
	rows    map[string]string // by id, with which a row begins; see pack
	texts   pool
	scratch []byte
}

func newTable() table {
	return table{rows: make(map[string]string), texts: pool{at: make(map[string]uint32)}}
}

// set keeps a state; one that is not online is forgotten.
func (t *table) set(st *events.State) {
	id := st.Session.ID
	t.remove(id)
	if st.Session.Online {
		row := t.pack(st)
		t.rows[row[:len(id)]] = row
	}
}

func (t *table) remove(id string) {
	row, ok := t.rows[id]
	if !ok {
		return
	}
	t.unpack(id, row, func(_ *string, shared uint32) { t.texts.give(shared) })
	delete(t.rows, id)
}

// get returns the state of a session that is online.
func (t *table) get(id string) (st events.State, ok bool) {
	row, ok := t.rows[id]
	if !ok {
		return st, false
	}
	return t.unpack(id, row, func(text *string, shared uint32) { *text = t.texts.of(shared) }), true
}

// revision returns that of a session that is online, else zero.
func (t *table) revision(id string) int64 {
	row, ok := t.rows[id]
	if !ok {
		return 0
	}
	in := packed(row[len(id):])
	return in.varint()
}

// pack returns the row of a state: its id, its numbers and times, how long its own texts
// are and where in the pool those are that it shares, and its own texts.
func (t *table) pack(st *events.State) string {
	s := &st.Session
	b := append(t.scratch[:0], s.ID...)
	for _, n := range [...]int64{
		st.Revision, st.Episode, s.DurationSeconds,
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

// unpack returns the state of a row, and calls share with each text that others may have
// as well, and its place in the pool.
func (t *table) unpack(id, row string, share func(text *string, shared uint32)) (st events.State) {
	in := packed(row[len(id):])
	s := &st.Session
	s.ID, s.Online = row[:len(id)], true
	for _, n := range [...]*int64{
		&st.Revision, &st.Episode, &s.DurationSeconds,
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
		online := tx.Bucket(bucketOnline)
		return online.ForEachBucket(func(location []byte) error {
			s.touch(tx, mapped)
			return online.Bucket(location).ForEach(func(k, v []byte) error {
				var st events.State
				if err := r.read(k, v, &st); err != nil {
					return err
				}
				t.set(&st)
				return nil
			})
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
		s.log.Lock()
		err := s.remembered()
		s.log.Unlock()
		if err != nil {
			return st, false, err
		}
		return s.State(id)
	}
	err = s.view("look up a session", func(tx *bbolt.Tx) error {
		record := tx.Bucket(bucketEnded).Get([]byte(id))
		s.touch(tx, mapped)
		if record == nil {
			return nil
		}
		if len(record) < 8 {
			return damaged("ended session %q cannot be read", id)
		}
		ok = true
		var r stateReader
		return r.read([]byte(id), record[8:], &st)
	})
	return st, ok && err == nil, err
}
