package poller

import (
	"context"
	"slices"
	"time"

	"github.com/guestflow/guestflow/poller/platform"
)

// Courier carries requests beside each other, so that a late answer holds up no
// other request. Its methods are for one goroutine.
type Courier interface {
	// Send calls request on a goroutine of its own.
	Send(request func())
	// Wait returns after d, or as soon as a request has returned of which it has
	// not told yet. It returns ctx's error if that ends first.
	Wait(ctx context.Context, d time.Duration) error
}

// NewCourier returns the Courier for real time.
func NewCourier() Courier { return courier{make(chan struct{}, mostFlights)} }

type courier struct{ back chan struct{} }

func (c courier) Send(request func()) {
	go func() {
		request()
		c.back <- struct{}{}
	}()
}

func (c courier) Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-c.back:
	}
	return nil
}

// mostFlights is how many requests are under way at once at most: at the
// documented limit, answers may take four seconds before requests wait for them.
const mostFlights = 4

// moment is when an answer was so: at some time after its request was sent and
// before the answer came. Where two such spans overlap, nobody knows which of the
// answers is the newer one.
type moment struct {
	sent, came time.Time // local clock
	from, at   time.Time // platform's clock
}

// flight is a request under way.
type flight struct {
	look Look
	sent time.Time
	land func() error // works the answer in
}

// ask sends one request on an endpoint's budget, and calls then with its answer:
// at once without a Courier, else from a later pause. A nil error is a good
// answer; otherwise the budget rests as the error demands.
func (p *Poller) ask(ctx context.Context, endpoint platform.Endpoint, request func() (platform.Meta, error), then func(moment, error) error) error {
	budget := p.Budgets[endpoint]
	m := moment{sent: p.Clock.Now()}
	answered, free := budget.Take(m.sent)
	for answered == nil {
		if err := p.Clock.Sleep(ctx, free.Sub(m.sent)); err != nil {
			return err
		}
		m.sent = p.Clock.Now()
		answered, free = budget.Take(m.sent)
	}
	var meta platform.Meta
	var err error
	carry := func() {
		meta, err = request()
		m.came = p.Clock.Now()
		answered(m.came)
	}
	f := &flight{look: p.looking, sent: m.sent}
	f.land = func() error {
		if p.Observer != nil {
			p.Observer.Requested(f.look.Kind, m.came.Sub(m.sent), err)
		}
		budget.Allowed(m.came, meta.Limit)
		p.settle(ctx, endpoint, m, err)
		m.from, m.at = m.sent.UTC(), m.came.UTC()
		if p.Time != nil {
			m.from, _ = p.Time.Bounds(m.sent)
			_, m.at = p.Time.Bounds(m.came)
		}
		return then(m, err)
	}
	if p.Courier == nil {
		carry()
		return f.land()
	}
	p.flights = append(p.flights, f)
	p.Courier.Send(func() {
		carry()
		p.landing.Lock()
		defer p.landing.Unlock()
		p.landed = append(p.landed, f)
	})
	return nil
}

// pause waits for d, or until an answer comes; answers are worked in.
func (p *Poller) pause(ctx context.Context, d time.Duration) error {
	if p.Courier == nil {
		return p.Clock.Sleep(ctx, d)
	}
	if err := p.Courier.Wait(ctx, d); err != nil {
		return err
	}
	var err error
	for _, f := range p.arrived() {
		p.remove(f)
		if err == nil {
			err = f.land()
		}
	}
	return err
}

// arrived returns the requests that have returned since the last call.
func (p *Poller) arrived() []*flight {
	p.landing.Lock()
	defer p.landing.Unlock()
	landed := p.landed
	p.landed = nil
	return landed
}

func (p *Poller) remove(f *flight) {
	p.flights = slices.DeleteFunc(p.flights, func(o *flight) bool { return o == f })
}

// drain waits for the requests under way, whose context has ended, and drops
// their answers.
func (p *Poller) drain() {
	for len(p.flights) > 0 {
		_ = p.Courier.Wait(context.Background(), time.Second) // its context does not end
		for _, f := range p.arrived() {
			p.remove(f)
		}
	}
}

// flying reports whether a look of a kind is under way; an empty subject means
// any.
func (p *Poller) flying(kind Kind, subject string) bool {
	return slices.ContainsFunc(p.flights, func(f *flight) bool {
		return f.look.Kind == kind && (subject == "" || f.look.subject() == subject)
	})
}

func (l Look) subject() string { return l.Location + l.Session }

// beside reports whether a look may go out beside those under way. One whose
// request depends on another's answer waits for that, and a platform that failed
// is asked one thing at a time.
func (p *Poller) beside(look Look) bool {
	if len(p.flights) == 0 {
		return true
	}
	if len(p.flights) == mostFlights || p.rests[look.Kind.Endpoint()] != nil {
		return false
	}
	switch look.Kind {
	case Probe, Backfill:
		return !p.flying(Probe, "") && !p.flying(Backfill, "")
	case Past:
		return !p.flying(Past, "")
	case Discover, Survey:
		return !p.flying(Discover, "") && !p.flying(Survey, "")
	case Sweep:
		return !slices.ContainsFunc(p.flights, func(f *flight) bool {
			return f.look.Kind == Sweep && (f.look.InTurn || look.InTurn)
		})
	}
	return !p.flying(look.Kind, look.subject())
}
