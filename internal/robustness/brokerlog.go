package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// message is one that was sent, and where it lies in the stream.
type message struct {
	subject, reply string
	header         nats.Header
	raw            []byte // of the header
	data           []byte
	seq            uint64
	at             time.Time
}

func (m *message) id() string { return m.header.Get(jetstream.MsgIDHeader) }

// log is the broker's stream.
type log struct {
	created  time.Time
	atomic   bool
	batched  bool // takes fast batches
	again    bool
	missing  bool
	window   time.Duration // for duplicates
	messages []*message    // without those that were lost
	last     uint64
	lastID   string
	ids      map[string]*message
	batches  map[string][]*message
	fast     map[string]*fastBatch
	// fastLimit is how many of them may be under way.
	fastLimit int
}

func newLog(now time.Time) log {
	return log{created: now, window: 2 * time.Minute, ids: make(map[string]*message), batches: make(map[string][]*message), fast: make(map[string]*fastBatch), fastLimit: 1000}
}

// restart forgets what lives in memory alone, and as many of the last messages as
// the disk had not got yet.
func (l *log) restart(loses int) {
	kept := max(0, len(l.messages)-loses)
	if kept < len(l.messages) {
		l.last = l.messages[kept].seq - 1
		l.messages = l.messages[:kept]
	}
	l.lastID = ""
	l.ids, l.batches, l.fast = make(map[string]*message), make(map[string][]*message), make(map[string]*fastBatch)
	for _, m := range l.messages {
		if m.id() != "" {
			l.ids[m.id()] = m
		}
		l.lastID = m.id()
	}
}

// keep lets messages from before a time go, and their ids.
func (l *log) keep(since time.Time) {
	old := 0
	for old < len(l.messages) && l.messages[old].at.Before(since) {
		delete(l.ids, l.messages[old].id())
		old++
	}
	l.messages = slices.Clone(l.messages[old:])
}

func (l *log) add(m *message) {
	l.last++
	m.seq, m.at = l.last, time.Now()
	l.messages = append(l.messages, m)
	l.lastID = m.id()
	if m.id() != "" {
		l.ids[m.id()] = m
	}
}

func refused(code, errCode int, text string) map[string]any {
	return map[string]any{"error": map[string]any{"code": code, "err_code": errCode, "description": text}, "stream": events.DefaultStream, "seq": 0}
}

func (l *log) ack(m *message) map[string]any {
	return map[string]any{"stream": events.DefaultStream, "seq": m.seq}
}

// publish judges a message as the server does, stores it or not, and returns what it
// answers. An answer of nil is empty.
func (l *log) publish(m *message, now time.Time) []any {
	if s, fast, valid := fastStep(m.reply); fast {
		return l.publishFast(m, s, valid, now)
	}
	return []any{l.publishOne(m, now)}
}

func (l *log) publishOne(m *message, now time.Time) any {
	batch := m.header.Get("Nats-Batch-Id")
	if batch != "" {
		return l.publishBatch(batch, m, now)
	}
	if why := l.misplaced(m); why != nil {
		return why
	}
	if want, ok := number(m, jetstream.ExpectedLastSeqHeader); ok && want != l.last {
		return refused(400, 10071, "wrong last sequence: "+strconv.FormatUint(l.last, 10))
	}
	if first := l.duplicate(m, now); first != nil {
		answer := l.ack(first)
		answer["duplicate"] = true
		return answer
	}
	if want := m.header.Get(jetstream.ExpectedLastMsgIDHeader); want != "" && want != l.lastID {
		return refused(400, 10070, "wrong last msg ID: "+l.lastID)
	}
	l.add(m)
	return l.ack(m)
}

// publishBatch stages a message of an atomic batch, or commits it.
func (l *log) publishBatch(id string, m *message, now time.Time) any {
	seq, _ := number(m, "Nats-Batch-Sequence")
	staged := l.batches[id]
	if seq != uint64(len(staged))+1 {
		delete(l.batches, id)
		return refused(400, 10176, "atomic publish batch is incomplete")
	}
	staged = append(staged, m)
	if m.header.Get("Nats-Batch-Commit") != "1" {
		l.batches[id] = staged
		return nil
	}
	delete(l.batches, id)
	for _, one := range staged {
		if l.duplicate(one, now) != nil {
			return refused(400, 10201, "atomic publish batch contains duplicate message id ("+one.id()+")")
		}
		if why := l.misplaced(one); why != nil {
			return why
		}
	}
	for _, one := range staged {
		l.add(one)
	}
	answer := l.ack(m)
	answer["batch"], answer["count"] = id, len(staged)
	return answer
}

// misplaced is why a message is not expected where it would come to lie.
func (l *log) misplaced(m *message) any {
	if want := m.header.Get(jetstream.ExpectedStreamHeader); want != "" && want != events.DefaultStream {
		return refused(400, 10060, "expected stream does not match")
	}
	want, ok := number(m, jetstream.ExpectedLastSubjSeqHeader)
	if !ok {
		return nil
	}
	of := m.subject
	if filter := m.header.Get(jetstream.ExpectedLastSubjSeqSubjHeader); filter != "" {
		of = filter
	}
	var last uint64
	if found := l.lastOf(of); found != nil {
		last = found.seq
	}
	if want != last {
		return refused(400, 10071, "wrong last sequence: "+strconv.FormatUint(last, 10))
	}
	return nil
}

func number(m *message, header string) (uint64, bool) {
	if m.header.Get(header) == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(m.header.Get(header), 10, 64)
	return n, err == nil
}

func (l *log) duplicate(m *message, now time.Time) *message {
	first := l.ids[m.id()]
	if m.id() == "" || first == nil || now.Sub(first.at) >= l.window {
		return nil
	}
	return first
}

func (l *log) lastOf(filter string) *message {
	for i := len(l.messages) - 1; i >= 0; i-- {
		if covered(filter, l.messages[i].subject) {
			return l.messages[i]
		}
	}
	return nil
}

// covered reports whether a filter with * takes a subject.
func covered(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	if len(f) != len(s) {
		return false
	}
	for i := range f {
		if f[i] != "*" && f[i] != s[i] {
			return false
		}
	}
	return true
}

// request answers what the publisher asks of JetStream's API.
func (l *log) request(name string, body []byte) any {
	switch {
	case l.missing:
		return refused(404, 10059, "stream not found")
	case strings.HasPrefix(name, "STREAM.INFO."):
		return l.info()
	case strings.HasPrefix(name, "STREAM.MSG.GET."):
		return l.get(body)
	}
	return refused(400, 10003, "bad request")
}

func (l *log) info() any {
	config := map[string]any{
		"name": events.DefaultStream, "subjects": []string{"guest.sessions.*.*.*"}, "retention": "limits", "storage": "file",
		"num_replicas": 1, "allow_atomic": l.atomic, "allow_batched": l.batched, "discard": "old",
	}
	if l.again {
		config["metadata"] = map[string]string{events.MetadataMade: events.MadeAgain}
	}
	return map[string]any{
		"type": "io.nats.jetstream.api.v1.stream_info_response", "config": config, "created": l.created.UTC(),
		"state": map[string]any{"messages": len(l.messages), "last_seq": l.last},
	}
}

func (l *log) get(body []byte) any {
	var r struct {
		Seq     uint64 `json:"seq"`
		LastFor string `json:"last_by_subj"`
		NextFor string `json:"next_by_subj"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return refused(400, 10025, "invalid JSON")
	}
	if r.LastFor != "" {
		if m := l.lastOf(r.LastFor); m != nil {
			return encoded(m)
		}
	} else {
		for _, m := range l.messages {
			if r.NextFor == "" && m.seq == r.Seq || r.NextFor != "" && m.seq >= r.Seq && covered(r.NextFor, m.subject) {
				return encoded(m)
			}
		}
	}
	return refused(404, 10037, "no message found")
}
