package budget

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Log keeps the times of an endpoint's last requests in a small file, so
// that the limit holds across restarts and crash loops. Each request overwrites
// its 16 bytes in place before it is sent. The file is not synced: it survives
// the end of the process, and after a restart of the machine the log counts as
// full of requests sent just now. A clock that is set, while nobody runs too, ages
// no request.
type Log struct {
	file   *os.File
	limit  int
	fault  error
	ahead  func() time.Duration // the clock, of the time since the machine's start
	wasSet time.Duration        // ahead, as the file has it
}

// The file: 8 bytes magic, 40 bytes boot id, 8 bytes by how much the clock was ahead
// of the time since the machine's start, then one slot a request: two big-endian Unix
// nanoseconds, sent and answered (0 while under way).
const (
	logMagic  = "gfreqs2\n"
	logBoot   = 40
	logHeader = len(logMagic) + logBoot + 8
	logSlot   = 16
	// logStep is from when on a clock counts as set: it is kept right in smaller ones.
	logStep = time.Second
)

// OpenLog opens or creates the log of an endpoint with limit requests a
// Window. A file that is not a log, or is for another limit, counts as full.
func OpenLog(path string, limit int) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("request log %s: %w; make the data directory writable", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("request log %s: %w; make the data directory writable", path, err)
	}
	return &Log{file: f, limit: max(1, limit), ahead: clockAhead}, nil
}

// Close closes the file.
func (l *Log) Close() error { return errors.Join(l.fault, l.file.Close()) }

// restored returns the requests of former processes, oldest first, and writes
// the file anew with them.
func (l *Log) restored(now time.Time) []exchange {
	boot := bootID()
	content, err := io.ReadAll(io.NewSectionReader(l.file, 0, int64(logHeader+l.limit*logSlot+1)))
	var log []exchange
	switch {
	case err == nil && len(content) == 0:
		// A new file: no request was ever sent.
	case err != nil || len(content) != logHeader+l.limit*logSlot ||
		string(content[:len(logMagic)]) != logMagic || !bytes.Equal(content[len(logMagic):logHeader-8], boot):
		for range l.limit {
			log = append(log, exchange{sent: now, answered: now})
		}
	default:
		log = decodeExchanges(content, l.ahead())
		for i, x := range log {
			// By now's monotonic reading, which a clock that is set leaves alone.
			log[i].sent = now.Add(x.sent.Sub(now))
			log[i].answered = now.Add(endOf(x, now).Sub(now))
		}
	}
	l.rewrite(log)
	return log
}

// endOf is when a request that somebody else sent counts as answered: one that was under way
// may be counted yet, as one that was given up on, and nothing is longer than that. What has
// a later time is from before the clock was set back.
func endOf(x exchange, now time.Time) time.Time {
	latest := now.Add(queued)
	if x.answered.IsZero() || x.answered.After(latest) {
		return latest
	}
	return x.answered
}

// rewrite writes the file anew.
func (l *Log) rewrite(log []exchange) {
	// Slots that were never used are a hole in the file.
	fresh := make([]byte, logHeader+len(log)*logSlot)
	copy(fresh, logMagic)
	copy(fresh[len(logMagic):], bootID())
	l.wasSet = l.ahead()
	binary.BigEndian.PutUint64(fresh[logHeader-8:], uint64(l.wasSet))
	for i, x := range log {
		encodeExchange(fresh[logHeader+i*logSlot:], x)
	}
	l.write(fresh, 0)
	l.keep(l.file.Truncate(int64(len(fresh))))
	l.keep(l.file.Truncate(int64(logHeader + l.limit*logSlot)))
}

func (l *Log) record(slot int, x exchange) {
	if (l.ahead() - l.wasSet).Abs() >= logStep {
		l.shift()
	}
	var b [logSlot]byte
	encodeExchange(b[:], x)
	l.write(b[:], int64(logHeader+slot*logSlot))
}

// shift moves what is in the file to where the clock has been set.
func (l *Log) shift() {
	content, err := io.ReadAll(io.NewSectionReader(l.file, 0, int64(logHeader+l.limit*logSlot)))
	l.keep(err)
	if err != nil || len(content) < logHeader {
		return
	}
	before := int64(binary.BigEndian.Uint64(content[logHeader-8:]))
	l.wasSet = l.ahead()
	binary.BigEndian.PutUint64(content[logHeader-8:], uint64(l.wasSet))
	for slot := range slices.Chunk(content[logHeader:], 8) {
		if at := int64(binary.BigEndian.Uint64(slot)); at != 0 {
			binary.BigEndian.PutUint64(slot, uint64(at+int64(l.wasSet)-before))
		}
	}
	l.write(content, 0)
}

// decodeExchanges returns what the file holds, oldest first, by a clock that is ahead of
// the time since the machine's start. Those under way have no answer.
func decodeExchanges(content []byte, ahead time.Duration) []exchange {
	set := ahead - time.Duration(binary.BigEndian.Uint64(content[logHeader-8:]))
	if set.Abs() < logStep {
		set = 0
	}
	var log []exchange
	for slot := range slices.Chunk(content[logHeader:], logSlot) {
		if len(slot) < logSlot || binary.BigEndian.Uint64(slot) == 0 {
			continue
		}
		x := exchange{sent: time.Unix(0, int64(binary.BigEndian.Uint64(slot))).Add(set)}
		if answered := binary.BigEndian.Uint64(slot[8:]); answered != 0 {
			x.answered = time.Unix(0, int64(answered)).Add(set)
		}
		log = append(log, x)
	}
	slices.SortFunc(log, func(a, b exchange) int { return a.sent.Compare(b.sent) })
	return log
}

func (l *Log) write(b []byte, at int64) {
	_, err := l.file.WriteAt(b, at)
	l.keep(err)
}

func (l *Log) keep(err error) {
	if err != nil && l.fault == nil {
		l.fault = fmt.Errorf("request log %s: %w; the limit may be exceeded after a restart: free disk space", l.file.Name(), err)
	}
}

func encodeExchange(b []byte, x exchange) {
	binary.BigEndian.PutUint64(b, uint64(x.sent.UnixNano()))
	answered := uint64(0)
	if !x.answered.IsZero() {
		answered = uint64(x.answered.UnixNano())
	}
	binary.BigEndian.PutUint64(b[8:], answered)
}

// bootID names this start of the machine, where the system tells it. Elsewhere
// it is constant, and the log is taken at its word.
func bootID() []byte {
	id := make([]byte, logBoot)
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		copy(id, strings.TrimSpace(string(b)))
	}
	return id
}
