package store

import (
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// table holds the states of all sessions that are online, in about 300 bytes each, so
// that nothing need be read from the file to compare them. Texts that sessions share
// are kept once.
type table struct {
	rows  map[string]*row // by id, which is a part of own
	texts pool
}

// row is a state in compact form.
type row struct {
	own    string // the id, and what hardly two sessions share
	ends   [ownTexts]uint32
	id     uint32              // its length
	shared [sharedTexts]uint32 // in the pool

	revision, episode, duration int64
	downloaded, uploaded        events.Bytes
	seen, started, ended        stamp
}

// stamp is a time in 16 bytes; the zero stamp is the zero time.
type stamp struct {
	seconds int64
	nanos   uint32
	known   bool
}

func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	return stamp{t.Unix(), uint32(t.Nanosecond()), true}
}

func (s stamp) time() time.Time {
	if !s.known {
		return time.Time{}
	}
	return time.Unix(s.seconds, int64(s.nanos)).UTC()
}

// set keeps a state; one that is not online is forgotten.
func (t *table) set(st *events.State) {
	s := &st.Session
	t.remove(s.ID)
	if !s.Online {
		return
	}
	all := texts(s)
	size := len(s.ID)
	for _, text := range all[:ownTexts] {
		size += len(*text)
	}
	own := append(make([]byte, 0, size), s.ID...)
	r := &row{
		id: uint32(len(s.ID)), revision: st.Revision, episode: st.Episode, duration: s.DurationSeconds,
		downloaded: s.Downloaded, uploaded: s.Uploaded, seen: stampOf(st.SeenAt), started: stampOf(s.StartedAt), ended: stampOf(s.EndedAt),
	}
	for i, text := range all {
		if i < ownTexts {
			own = append(own, *text...)
			r.ends[i] = uint32(len(own))
		} else {
			r.shared[i-ownTexts] = t.texts.take(*text)
		}
	}
	r.own = string(own)
	t.rows[r.own[:r.id]] = r
}

func (t *table) remove(id string) {
	r := t.rows[id]
	if r == nil {
		return
	}
	for _, at := range r.shared {
		t.texts.give(at)
	}
	delete(t.rows, id)
}

// get returns the state of a session that is online.
func (t *table) get(id string) (st events.State, ok bool) {
	r := t.rows[id]
	if r == nil {
		return st, false
	}
	s := &st.Session
	st.Revision, st.Episode, s.DurationSeconds = r.revision, r.episode, r.duration
	s.Downloaded, s.Uploaded, s.Online = r.downloaded, r.uploaded, true
	st.SeenAt, s.StartedAt, s.EndedAt = r.seen.time(), r.started.time(), r.ended.time()
	s.ID = r.own[:r.id]
	from := r.id
	for i, text := range texts(s) {
		if i < ownTexts {
			*text, from = r.own[from:r.ends[i]], r.ends[i]
		} else {
			*text = t.texts.of(r.shared[i-ownTexts])
		}
	}
	return st, true
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
	t := table{rows: make(map[string]*row), texts: pool{at: make(map[string]uint32)}}
	err := s.view("read all sessions", func(tx *bbolt.Tx) error {
		defer release(tx)
		var r stateReader
		online := tx.Bucket(bucketOnline)
		return online.ForEachBucket(func(location []byte) error {
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
