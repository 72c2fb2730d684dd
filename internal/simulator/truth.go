package simulator

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// TruthKind says what a Truth record tells.
type TruthKind string

// The kinds. Start to Move are the population's, the rest the API's.
const (
	// TruthStart: a session came online. Sessions from before the simulator's
	// start are logged too, when it is made.
	TruthStart TruthKind = "start"
	// TruthTraffic: the counters stepped. Between two of these (and Start,
	// Resume and End) they stand still.
	TruthTraffic TruthKind = "traffic"
	// TruthUpdate: IP or service profile changed.
	TruthUpdate TruthKind = "update"
	// TruthMove: the session changed its location and kept its id.
	TruthMove TruthKind = "move"
	// TruthEnd: the session ended, with its final counters.
	TruthEnd TruthKind = "end"
	// TruthResume: the session came back under its id.
	TruthResume TruthKind = "resume"
	// TruthServed: one page of a list was handed over whole, with status 200.
	TruthServed TruthKind = "served"
	// TruthLimited: a request got a 429, by the limiter or by a fault.
	TruthLimited TruthKind = "limited"
	// TruthFault: a fault struck a request.
	TruthFault TruthKind = "fault"
)

// Truth is one line of the ground truth. Times are on the platform's clock.
type Truth struct {
	Kind TruthKind `json:"kind"`
	// Time is when it happened; of Served, when the data were read.
	Time time.Time `json:"time"`

	// Of a session's records:
	Session    string `json:"session,omitempty"`
	Location   string `json:"location,omitempty"` // after a move, the new one
	From       string `json:"from,omitempty"`     // of a move, the old one
	Guest      string `json:"guest,omitempty"`
	Username   string `json:"username,omitempty"` // of Start and Resume
	MAC        string `json:"mac,omitempty"`
	IP         string `json:"ip,omitempty"`
	Profile    string `json:"profile,omitempty"`
	Downloaded int64  `json:"downloaded,omitempty"` // exact bytes
	Uploaded   int64  `json:"uploaded,omitempty"`

	// Of the API's records:
	Endpoint Endpoint `json:"endpoint,omitempty"`
	// Query holds the filters, URL-encoded, without page and per_page.
	Query   string `json:"query,omitempty"`
	Page    int    `json:"page,omitempty"`
	PerPage int    `json:"per_page,omitempty"`
	More    bool   `json:"more,omitempty"` // further pages followed
	// Online lists the ids of the online sessions on the page whose records
	// were fit to be read.
	Online []string `json:"online,omitempty"`
	// Fault is what struck; of Limited, FaultLimit when not the limiter's own.
	Fault FaultKind `json:"fault,omitempty"`
}

// Log writes Truth records as JSON lines. Its Record is what Config.Truth takes.
type Log struct {
	mu  sync.Mutex
	buf *bufio.Writer
	enc *json.Encoder
	err error
}

// NewLog returns a Log to w, buffered: call Flush at the end.
func NewLog(w io.Writer) *Log {
	buf := bufio.NewWriterSize(w, 64<<10)
	return &Log{buf: buf, enc: json.NewEncoder(buf)}
}

// Record writes t. The first error is kept for Flush, and stops the log.
func (l *Log) Record(t Truth) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.enc.Encode(t)
	}
}

// Flush hands over what is buffered and returns the first error so far.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.buf.Flush()
	}
	if l.err != nil {
		return fmt.Errorf("ground truth: %w; what follows is not logged", l.err)
	}
	return nil
}

// Recorder keeps Truth records in memory. Its Record is what Config.Truth takes;
// the zero Recorder is empty. It is safe for concurrent use.
type Recorder struct {
	mu  sync.Mutex
	all []Truth
}

// Record keeps t.
func (r *Recorder) Record(t Truth) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, t)
}

// All returns what was recorded so far.
func (r *Recorder) All() []Truth {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[:len(r.all):len(r.all)]
}

// ReadTruth reads what a Log wrote. A last line that was cut off, as by a kill,
// is left out without an error.
func ReadTruth(r io.Reader) ([]Truth, error) {
	var all []Truth
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("ground truth: %w", err)
		}
		var t Truth
		if err := json.Unmarshal(line, &t); err != nil {
			return all, fmt.Errorf("ground truth: line %d: %w; the log is damaged there", n, err)
		}
		all = append(all, t)
	}
}

func (p *population) truth(kind TruthKind, at int64, s *session) Truth {
	r := &s.rec
	return Truth{
		Kind: kind, Time: time.Unix(0, at).UTC(), Session: r.ID, Location: r.LocationID,
		Guest: r.GuestID, MAC: r.DeviceMAC, IP: r.DeviceIP, Profile: r.ServiceProfile,
	}
}

func (p *population) log(kind TruthKind, at int64, s *session, down, up int64) {
	if p.tell == nil {
		return
	}
	t := p.truth(kind, at, s)
	if kind == TruthTraffic {
		t = Truth{Kind: kind, Time: t.Time, Session: t.Session, Location: t.Location}
	}
	if kind == TruthStart || kind == TruthResume {
		t.Username = personOf(s.guest).username
	}
	t.Downloaded, t.Uploaded = down, up
	p.tell(t)
}
