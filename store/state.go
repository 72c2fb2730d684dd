package store

import (
	"encoding/binary"
	"time"

	"github.com/guestflow/guestflow/events"
)

// A state record is
//
//	version (1 byte), flags (1 byte)
//	varints: revision, episode, duration, downloaded, its error, uploaded, its error
//	times, each where its flag is set: seen, started, ended
//	uvarints: the lengths of the texts
//	the texts, those that hardly two sessions share first
//
// A time is its seconds since 1970 (varint) and its nanoseconds (uvarint). The
// session id is the record's key and not repeated.
const stateVersion = 1

const (
	flagOnline = 1 << iota
	flagSeen
	flagStarted
	flagEnded
	flagsKnown = 1<<iota - 1
)

const (
	ownTexts    = 5
	sharedTexts = 5
)

// texts returns the session's texts in the order of the record: ownTexts that
// differ from session to session, then sharedTexts that many have in common.
func texts(s *events.Session) [ownTexts + sharedTexts]*string {
	return [...]*string{
		&s.GuestID, &s.YasID, &s.DeviceMAC, &s.DeviceIP, &s.AccessCode,
		&s.LocationID, &s.LocationName, &s.DeviceDescription, &s.LoginType, &s.ServiceProfile,
	}
}

// encodeState returns the record of st.
func encodeState(st *events.State) []byte { return appendState(make([]byte, 0, stateSize(st)), st) }

// stateSize is how many bytes the record of st has at most, with its id before it.
func stateSize(st *events.State) int {
	size := 112 + len(st.Session.ID)
	for _, t := range texts(&st.Session) {
		size += len(*t)
	}
	return size
}

func appendState(b []byte, st *events.State) []byte {
	s := &st.Session
	all := texts(s)
	from := len(b)
	b = append(b, stateVersion, 0)
	flags := byte(0)
	if s.Online {
		flags |= flagOnline
	}
	for _, n := range [...]int64{
		st.Revision, st.Episode, s.DurationSeconds,
		s.Downloaded.Value, s.Downloaded.Error, s.Uploaded.Value, s.Uploaded.Error,
	} {
		b = binary.AppendVarint(b, n)
	}
	for i, t := range [...]time.Time{st.SeenAt, s.StartedAt, s.EndedAt} {
		if !t.IsZero() {
			flags |= flagSeen << i
			b = appendTime(b, t)
		}
	}
	b[from+1] = flags
	for _, t := range all {
		b = binary.AppendUvarint(b, uint64(len(*t)))
	}
	for _, t := range all {
		b = append(b, *t...)
	}
	return b
}

// onlineFill is how full pages of sessions get that are online. Their numbers only grow,
// and their records do, a little.
const onlineFill = 0.85

// appendOnline appends the record of a session that is online: its id before its state.
func appendOnline(b []byte, st *events.State) []byte {
	return appendState(appendText(b, st.Session.ID), st)
}

// readOnline is read for such a record, and returns the session's number as well.
func (r *stateReader) readOnline(key, b []byte, st *events.State) (number uint64, err error) {
	if len(key) != 8 {
		return 0, damaged("key %x of the sessions that are online", key)
	}
	in := input{b: b}
	id := in.text()
	if in.bad || len(id) == 0 {
		return 0, damaged("session at %x cannot be read", key)
	}
	return binary.BigEndian.Uint64(key), r.read(id, in.b, st)
}

// stateReader decodes state records. It remembers the texts that sessions share,
// so that a hundred thousand sessions of a location hold its name once.
type stateReader struct {
	shared  map[string]string
	last    [sharedTexts]string
	scratch []byte
}

// sharedMax bounds what a stateReader remembers; a text beyond it gets a copy of
// its own.
const sharedMax = 1024

// read decodes the record of a session. The error is ErrCorrupt; nothing of the
// state points into key or b.
func (r *stateReader) read(key, b []byte, st *events.State) error {
	in := input{b: b}
	if v := in.byte(); v != stateVersion {
		return damaged("state of session %q has record version %d", key, v)
	}
	flags := in.byte()
	s := &st.Session
	st.Revision, st.Episode, s.DurationSeconds = in.varint(), in.varint(), in.varint()
	s.Downloaded = events.Bytes{Value: in.varint(), Error: in.varint()}
	s.Uploaded = events.Bytes{Value: in.varint(), Error: in.varint()}
	s.Online = flags&flagOnline != 0
	st.SeenAt = in.timeIf(flags&flagSeen != 0)
	s.StartedAt = in.timeIf(flags&flagStarted != 0)
	s.EndedAt = in.timeIf(flags&flagEnded != 0)
	var lengths [ownTexts + sharedTexts]int
	own, total := 0, 0
	for i := range lengths {
		n := in.length()
		if i < ownTexts {
			own += n
		}
		lengths[i], total = n, total+n
	}
	if in.bad || flags&^flagsKnown != 0 || total != len(in.b) {
		return damaged("state of session %q cannot be read", key)
	}
	// One allocation holds the id and all that is the session's own.
	r.scratch = append(append(r.scratch[:0], key...), in.b[:own]...)
	text := string(r.scratch)
	s.ID, text = text[:len(key)], text[len(key):]
	rest := in.b[own:]
	for i, t := range texts(s) {
		n := lengths[i]
		if i < ownTexts {
			*t, text = text[:n], text[n:]
			continue
		}
		*t, rest = r.share(i-ownTexts, rest[:n]), rest[n:]
	}
	return nil
}

// share returns b as a string, the same one each time. Neighbours mostly have the
// same text, so the last one is tried before the map.
func (r *stateReader) share(field int, b []byte) string {
	if last := r.last[field]; last == string(b) {
		return last
	}
	s, ok := r.shared[string(b)]
	if !ok {
		s = string(b)
		if r.shared == nil {
			r.shared = make(map[string]string)
		}
		if len(r.shared) < sharedMax {
			r.shared[s] = s
		}
	}
	r.last[field] = s
	return s
}

// stateRevision reads no more of a record than its revision.
func stateRevision(key, b []byte) (int64, error) {
	in := input{b: b}
	v := in.byte()
	in.byte()
	revision := in.varint()
	if in.bad || v != stateVersion {
		return 0, damaged("state of session %q cannot be read", key)
	}
	return revision, nil
}
