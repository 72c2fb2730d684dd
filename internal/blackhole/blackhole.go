// Package blackhole is for tests of connections that die without a word, as behind a
// NAT or firewall that has forgotten them: nothing passes any more, nothing is refused,
// and connections that are new fare well.
package blackhole

import (
	"context"
	"net"
	"sync"
)

// Proxy passes connections on to a server. The zero value is not usable; see New.
type Proxy struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	ctx      context.Context
	stop     context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	made     int // connections
	swallows int // connections up to this one pass nothing on
	conns    []net.Conn
}

// New passes what connects to the listener on to what dial returns, until Close.
func New(l net.Listener, dial func(context.Context) (net.Conn, error)) *Proxy {
	p := &Proxy{listener: l, dial: dial}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	return p
}

// To is New on a port of loopback, for a server at an address.
func To(address string) (*Proxy, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return New(l, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}), nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Forget swallows from now on what is sent over the connections made so far, in both
// directions. Both ends take them for open.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallows = p.made
}

// Made is how many connections there were.
func (p *Proxy) Made() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// Close ends all connections, and waits for that.
func (p *Proxy) Close() {
	p.listener.Close()
	p.stop()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := p.dial(p.ctx)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.made++
	number := p.made
	p.conns = append(p.conns, client, server)
	ended := p.ctx.Err() != nil
	p.mu.Unlock()
	if ended {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.pass(number, client, server) })
	p.pass(number, server, client)
	wg.Wait()
}

// pass copies until one end closes, which the other one then learns unless the
// connection is forgotten.
func (p *Proxy) pass(number int, from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		forgotten := number <= p.swallows
		p.mu.Unlock()
		switch {
		case err != nil && forgotten:
			return
		case err != nil:
			to.Close()
			return
		case forgotten:
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
