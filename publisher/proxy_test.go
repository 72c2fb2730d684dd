package publisher

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between a client and the server.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    []net.Conn
	// swallow: the next acknowledgement of a publish is not passed on; the
	// connection is cut in its place.
	swallow bool
	// holding: from its next event on, what a client sends is not passed on, but
	// collected in held.
	holding bool
	held    []func()
	shut    bool
	events  chan string
}

func startProxy(t testing.TB, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, events: make(chan string, 1024)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); p.cut(); wg.Wait() })
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// await waits until something was swallowed or held.
func (p *proxy) await(t testing.TB) {
	t.Helper()
	select {
	case <-p.events:
	case <-time.After(patience):
		t.Fatal("the proxy saw nothing")
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.set(func() {
		for _, c := range p.conns {
			c.Close()
		}
		p.conns = nil
	})
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	refused := false
	p.set(func() {
		if refused = p.shut; !refused {
			p.conns = append(p.conns, client)
		}
	})
	if refused {
		server.Close()
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		p.up(client, server)
	})
	p.down(client, server)
	client.Close()
	wg.Wait()
	p.set(func() {
		if len(p.held) == 0 {
			server.Close()
		} else {
			p.held = append(p.held, func() { settle(server) })
		}
	})
}

// settle closes a connection once the server has read what was written to it.
func settle(server net.Conn) {
	defer server.Close()
	if err := server.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return
	}
	if _, err := server.Write([]byte("PING\r\n")); err != nil {
		return
	}
	seen := ""
	buf := make([]byte, 64<<10)
	for !strings.Contains(seen, "PONG") {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		seen += string(buf[:n])
	}
}

func (p *proxy) up(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	held := false
	for {
		n, err := client.Read(buf)
		if err != nil {
			if tcp, ok := server.(*net.TCPConn); ok {
				_ = tcp.SetReadDeadline(time.Now()) // ends down
			}
			return
		}
		data := slices.Clone(buf[:n])
		p.mu.Lock()
		if p.holding && !held && strings.Contains(string(data), HeaderSeq) {
			held = true
			p.events <- "held"
		}
		if held {
			p.held = append(p.held, func() { _, _ = server.Write(data) })
		}
		p.mu.Unlock()
		if held {
			continue
		}
		if _, err := server.Write(data); err != nil {
			return
		}
	}
}

func (p *proxy) down(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		swallow := p.swallow && strings.Contains(string(buf[:n]), `{"stream":"`+testStream+`","seq":`)
		if swallow {
			p.swallow = false
		}
		p.mu.Unlock()
		if swallow {
			p.events <- "swallowed"
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// release sends what was held, from connections that clients have given up.
func (p *proxy) release() {
	p.set(func() {
		p.holding = false
		for _, f := range p.held {
			f()
		}
		p.held = nil
	})
}
