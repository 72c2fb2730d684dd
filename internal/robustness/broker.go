package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// broker is a NATS server with one stream, in memory and in whatever time its
// goroutines live in. It speaks the client protocol over pipes and keeps to
// nats-server 2.15.2 in what publishing rests on: what is checked of a message and in
// which order, what is answered, what a restart forgets. The real server runs in the
// process level's trials; this one runs thousands of lives, and fails where a seed
// says so.
type broker struct {
	mu       sync.Mutex
	log      log
	conns    map[*peer]bool
	downTo   time.Time // refuses connections until then
	interfer func(*message) interference
}

// interference is what becomes of one message beside being judged.
type interference struct {
	refuse  bool          // is not stored, and the answer says so
	silent  bool          // no answer
	cut     bool          // the connection ends after it
	before  bool          // it ends before it: nothing is stored
	gap     bool          // is lost on its way, and those after it are not
	late    time.Duration // the answer comes so much later
	foreign int           // so many messages of another writer come in first
}

// peer is one connection of a client.
type peer struct {
	b    *broker
	conn net.Conn
	out  chan []byte
	subs map[string]string // subject, or its beginning before '*' or '>', by sid
	end  sync.Once
}

func newBroker() *broker {
	return &broker{conns: make(map[*peer]bool), log: newLog(time.Now())}
}

var errDown = errors.New("the broker is down")

// Dial is how clients come: it implements nats.CustomDialer.
func (b *broker) Dial(string, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.downTo) {
		return nil, errDown
	}
	client, server := net.Pipe()
	p := &peer{b: b, conn: server, out: make(chan []byte, 4096), subs: make(map[string]string)}
	b.conns[p] = true
	go p.write()
	go p.read()
	return client, nil
}

// Connect returns a connection that comes back after each outage.
func (b *broker) Connect() (*nats.Conn, error) {
	return nats.Connect("nats://127.0.0.1:4222", nats.SkipHostLookup(), nats.SetCustomDialer(b), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(250*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

// Outage ends every connection, and takes none for a while. A server that lost its
// power may have lost the last messages, though it acknowledged them.
func (b *broker) Outage(d time.Duration, loses int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.downTo = time.Now().Add(d)
	b.log.restart(loses)
	for p := range b.conns {
		p.close()
	}
}

// Delete removes the stream with everything in it.
func (b *broker) Delete() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log.missing = true
}

// Make makes it anew, in place of the deleted one.
func (b *broker) Make(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.log.missing {
		made := newLog(time.Now())
		made.again, made.atomic, made.batched, made.fastLimit, made.window = true, b.log.atomic, b.log.batched, b.log.fastLimit, b.log.window
		b.log = made
	}
	return nil
}

// Keep lets messages go that are older.
func (b *broker) Keep(age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log.keep(time.Now().Add(-age))
}

// Stored are the messages as they lie in the stream.
func (b *broker) Stored() []*message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*message(nil), b.log.messages...)
}

func (p *peer) close() {
	delete(p.b.conns, p)
	p.end.Do(func() { close(p.out); p.conn.Close() })
}

func (p *peer) send(line []byte) {
	if !p.b.conns[p] {
		return
	}
	select {
	case p.out <- line:
	default: // A client that does not read is left, as the server leaves it.
		p.close()
	}
}

func (p *peer) write() {
	for line := range p.out {
		if _, err := p.conn.Write(line); err != nil {
			break
		}
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.close()
}

const info = `INFO {"server_id":"ROBUSTNESS","version":"2.15.2","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}` + "\r\n"

func (p *peer) read() {
	defer func() {
		p.b.mu.Lock()
		defer p.b.mu.Unlock()
		p.close()
	}()
	p.b.mu.Lock()
	p.send([]byte(info))
	p.b.mu.Unlock()
	r := bufio.NewReader(p.conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if err := p.command(r, strings.Fields(line)); err != nil {
			return
		}
	}
}

var errProtocol = errors.New("the client breaks the protocol")

// command executes one line of the client.
func (p *peer) command(r *bufio.Reader, words []string) error {
	if len(words) == 0 {
		return errProtocol
	}
	var m *message
	switch words[0] {
	case "PUB", "HPUB":
		var err error
		if m, err = readMessage(r, words); err != nil {
			return err
		}
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	switch words[0] {
	case "PING":
		p.send([]byte("PONG\r\n"))
	case "SUB":
		if len(words) < 3 {
			return errProtocol
		}
		p.subs[words[len(words)-1]] = words[1]
	case "UNSUB":
		delete(p.subs, words[1])
	case "PUB", "HPUB":
		return p.b.receive(p, m)
	}
	return nil
}

func readMessage(r *bufio.Reader, words []string) (*message, error) {
	sizes := 1
	if words[0] == "HPUB" {
		sizes = 2
	}
	if len(words) < 2+sizes {
		return nil, errProtocol
	}
	m := &message{subject: words[1], header: nats.Header{}}
	if len(words) == 3+sizes {
		m.reply = words[2]
	}
	total, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return nil, errProtocol
	}
	body := make([]byte, total+2)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	m.data = body[:total]
	if sizes == 2 {
		n, err := strconv.Atoi(words[len(words)-2])
		if err != nil || n > total {
			return nil, errProtocol
		}
		m.raw, m.data = body[:n], body[n:total]
		if m.header, err = nats.DecodeHeadersMsg(m.raw); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// receive routes a message: to the API, to the stream, or to nobody.
func (b *broker) receive(p *peer, m *message) error {
	const api = "$JS.API."
	switch request, ok := strings.CutPrefix(m.subject, api); {
	case ok:
		b.answer(m.reply, b.log.request(request, m.data), 0)
	case b.log.missing:
		b.reply(m.reply, []byte("NATS/1.0 503\r\n\r\n"), nil)
	default:
		return b.publish(p, m)
	}
	return nil
}

func (b *broker) publish(p *peer, m *message) error {
	var i interference
	if b.interfer != nil {
		i = b.interfer(m)
	}
	switch {
	case i.before:
		return errDown
	case i.gap:
		return nil
	}
	for range i.foreign {
		b.log.add(&message{subject: "guest.sessions.another.place.started", header: nats.Header{}})
	}
	if i.refuse {
		b.answer(m.reply, refused(503, 10008, "JetStream system temporarily unavailable"), i.late)
		return nil
	}
	answers := b.log.publish(m, time.Now())
	switch {
	case i.cut:
		return errDown
	case !i.silent:
		for _, answer := range answers {
			b.answer(m.reply, answer, i.late)
		}
	}
	return nil
}

// answer sends a JSON document, or an empty one for nil, to whoever asked.
func (b *broker) answer(subject string, v any, late time.Duration) {
	if subject == "" {
		return
	}
	var body []byte
	if v != nil {
		body, _ = json.Marshal(v) // Maps of plain values: they can be encoded.
	}
	if late == 0 {
		b.reply(subject, nil, body)
		return
	}
	time.AfterFunc(late, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.reply(subject, nil, body)
	})
}

func (b *broker) reply(subject string, header, body []byte) {
	for p := range b.conns {
		for sid, of := range p.subs {
			before := strings.TrimRight(of, "*>")
			if wild := before != of; of != subject && !(wild && strings.HasPrefix(subject, before)) {
				continue
			}
			if header != nil {
				p.send(fmt.Appendf(nil, "HMSG %s %s %d %d\r\n%s%s\r\n", subject, sid, len(header), len(header)+len(body), header, body))
			} else {
				p.send(fmt.Appendf(nil, "MSG %s %s %d\r\n%s\r\n", subject, sid, len(body), body))
			}
		}
	}
}

func encoded(m *message) map[string]any {
	return map[string]any{"message": map[string]any{
		"subject": m.subject, "seq": m.seq, "time": m.at.UTC(),
		"hdrs": base64.StdEncoding.EncodeToString(m.raw), "data": base64.StdEncoding.EncodeToString(m.data),
	}}
}
