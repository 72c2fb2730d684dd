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
// full of requests sent just now.
type Log struct {
	file  *os.File
	limit int
	fault error
}

// The file: 8 bytes magic, 40 bytes boot id, then one slot a request: two
// big-endian Unix nanoseconds, sent and answered (0 while under way).
const (
	logMagic  = "gfreqs1\n"
	logHeader = 48
	logSlot   = 16
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
	return &Log{file: f, limit: max(1, limit)}, nil
}

// Close closes the file.
func (l *Log) Close() error { return errors.Join(l.fault, l.file.Close()) }

// restored returns the requests of former processes, oldest first, and writes
// the file anew with them. A request without an answer counts as answered now,
// one from the future as well: the clock was set back.
func (l *Log) restored(now time.Time) []exchange {
	boot := bootID()
	content, err := io.ReadAll(io.NewSectionReader(l.file, 0, int64(logHeader+l.limit*logSlot+1)))
	var log []exchange
	switch {
	case err == nil && len(content) == 0:
		// A new file: no request was ever sent.
	case err != nil || len(content) != logHeader+l.limit*logSlot ||
		string(content[:len(logMagic)]) != logMagic || !bytes.Equal(content[len(logMagic):logHeader], boot):
		for range l.limit {
			log = append(log, exchange{sent: now, answered: now})
		}
	default:
		for slot := range slices.Chunk(content[logHeader:], logSlot) {
			sent, answered := binary.BigEndian.Uint64(slot), binary.BigEndian.Uint64(slot[8:])
			if sent == 0 {
				continue
			}
			x := exchange{sent: time.Unix(0, int64(sent)), answered: time.Unix(0, int64(answered))}
			if answered == 0 || x.answered.After(now) {
				x.answered = now
			}
			log = append(log, x)
		}
		slices.SortFunc(log, func(a, b exchange) int { return a.sent.Compare(b.sent) })
	}
	l.rewrite(log)
	return log
}

// rewrite writes the file anew.
func (l *Log) rewrite(log []exchange) {
	// Slots that were never used are a hole in the file.
	fresh := make([]byte, logHeader+len(log)*logSlot)
	copy(fresh, logMagic)
	copy(fresh[len(logMagic):], bootID())
	for i, x := range log {
		encodeExchange(fresh[logHeader+i*logSlot:], x)
	}
	l.write(fresh, 0)
	l.keep(l.file.Truncate(int64(len(fresh))))
	l.keep(l.file.Truncate(int64(logHeader + l.limit*logSlot)))
}

func (l *Log) record(slot int, x exchange) {
	var b [logSlot]byte
	encodeExchange(b[:], x)
	l.write(b[:], int64(logHeader+slot*logSlot))
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
	id := make([]byte, logHeader-len(logMagic))
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		copy(id, strings.TrimSpace(string(b)))
	}
	return id
}
