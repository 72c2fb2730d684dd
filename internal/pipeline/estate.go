package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// Streams of the consumers.
const (
	guestflowStream = "GUEST_SESSIONS"
	naiveStream     = "NAIVE"
)

// unlimited is a limit in requests a minute that nobody reaches.
const unlimited = 120_000

// trafficMin is from how many bytes on both publish traffic.
const trafficMin = 1_000_000

func (p Plan) guestflow(ctx context.Context, h *host, limit int) (*process, error) {
	return p.start(ctx, "guestflow", guestflowStream, []string{
		"GUESTFLOW_API_URL=" + h.api.URL, "GUESTFLOW_API_TOKEN=bench", "GUESTFLOW_NATS_URL=" + h.nats.URL(), "GUESTFLOW_HTTP_ADDR=-",
		"GUESTFLOW_DATA_DIR=" + filepath.Join(h.dir, "guestflow"), "GUESTFLOW_API_RATE_LIMIT=" + strconv.Itoa(limit),
		"GUESTFLOW_TRAFFIC_MIN_BYTES=" + strconv.Itoa(trafficMin),
	}, "run")
}

func (p Plan) naive(ctx context.Context, h *host, limit int) (*process, error) {
	return p.start(ctx, "naive", naiveStream, nil, "bench", "part", "naive", h.api.URL, h.nats.URL(), filepath.Join(h.dir, "naive.db"), strconv.Itoa(limit))
}

// estate measures the consumers of one size in turns.
func (p Plan) estate(ctx context.Context, online int, show func(Row)) error {
	h, err := p.open(ctx, online, -1)
	if err != nil {
		return err
	}
	defer h.close()
	var all []*contender
	defer func() {
		for _, c := range all {
			c.kill()
		}
	}()
	for _, begin := range []func() (*process, error){
		func() (*process, error) { return p.guestflow(ctx, h, unlimited) },
		func() (*process, error) { return p.naive(ctx, h, unlimited) },
		func() (*process, error) { return p.start(ctx, "read", "", nil, "bench", "part", "read", h.api.URL) },
		func() (*process, error) { return p.start(ctx, "decode", "", nil, "bench", "part", "decode", h.api.URL) },
	} {
		proc, err := begin()
		if err != nil {
			return err
		}
		c := &contender{process: proc}
		all = append(all, c)
		if c.known, err = h.warm(ctx, c.process, online); err != nil {
			return err
		}
		if err := c.stop(); err != nil {
			return err
		}
	}
	for range p.Repeat {
		for _, c := range all {
			if err := c.turn(ctx, h, p.Turn); err != nil {
				return err
			}
		}
	}
	guestflow, naive, read, decode := all[0], all[1], all[2], all[3]
	show(row(RecordsPerS, online, guestflow.rate, naive.rate, read.rate))
	show(row(CPUPer100k, online, guestflow.cpu, naive.cpu, decode.cpu))
	show(row(PeakMB, online, guestflow.peak, naive.peak, decode.peak))
	show(row(WritePerEvent, online, guestflow.written, naive.written, nil))
	show(row(KnownS, online, []float64{guestflow.known}, []float64{naive.known}, nil))
	return nil
}

// contender is a consumer and what was measured of it.
type contender struct {
	*process
	known                    float64
	rate, cpu, peak, written []float64
}

// warm waits until a consumer knows every session, and says how long that took.
func (h *host) warm(ctx context.Context, c *process, online int) (float64, error) {
	began, from := time.Now(), h.records.Load()
	most := time.Minute + time.Duration(online)*time.Millisecond
	for {
		if err := c.alive(); err != nil {
			return 0, err
		}
		done := h.records.Load()-from > int64(online)*11/10
		if done && c.stream == guestflowStream {
			n, err := h.stored(ctx, c.stream)
			if err != nil {
				return 0, err
			}
			done = n >= uint64(online)*97/100 // As many as are online by chance.
		}
		if done {
			return time.Since(began).Seconds(), nil
		}
		if time.Since(began) > most {
			published := uint64(0)
			if c.stream != "" {
				published, _ = h.stored(ctx, c.stream) // Zero where there is no stream yet.
			}
			return 0, fmt.Errorf("%s has not read all after %v: %d records, %d events published; on a machine with nothing else to do it may: %s", c.name, most, h.records.Load()-from, published, c.said.String())
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// catchUp is how long a consumer goes on before it is measured, so that what happened
// while it was stopped does not count.
const catchUp = 5 // turns in one

// turn measures a consumer for a while.
func (c *contender) turn(ctx context.Context, h *host, d time.Duration) error {
	if err := c.goOn(); err != nil {
		return err
	}
	if err := sleep(ctx, d/catchUp); err != nil {
		return err
	}
	before, err := h.mark(ctx, c.process)
	if err != nil {
		return err
	}
	if err := sleep(ctx, d); err != nil {
		return err
	}
	after, err := h.mark(ctx, c.process)
	if err != nil {
		return err
	}
	records := float64(after.records - before.records)
	if records == 0 {
		return errors.Join(fmt.Errorf("%s has read nothing: %s", c.name, c.said.String()), c.alive())
	}
	c.rate = append(c.rate, records/after.at.Sub(before.at).Seconds())
	c.cpu = append(c.cpu, (after.cpu-before.cpu).Seconds()/records*100_000)
	c.peak = append(c.peak, float64(after.peak)/1e6)
	if n := after.events - before.events; n > 0 {
		c.written = append(c.written, float64(after.written-before.written)/float64(n)/1000)
	}
	return c.stop()
}

// mark is how far a consumer is.
type mark struct {
	usage
	at      time.Time
	records int64
	asked   int64
	events  uint64
}

func (h *host) mark(ctx context.Context, c *process) (m mark, err error) {
	if m.usage, err = c.usage(); err != nil {
		return m, err
	}
	m.at, m.records, m.asked = time.Now(), h.records.Load(), h.asked.Load()
	if c.stream != "" {
		m.events, err = h.stored(ctx, c.stream)
	}
	return m, err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// limits measures at limits: how much of a high one is used, and what a low one costs.
func (p Plan) limits(ctx context.Context, show func(Row)) error {
	for _, of := range []limitFigure{
		{LimitShare, 20_000, 12_000, 3 * p.Turn, func(a, b mark) float64 {
			return float64(b.asked-a.asked) / b.at.Sub(a.at).Minutes() / 12_000
		}},
		{CPUAt60, 3000, 60, 10 * p.Turn, func(a, b mark) float64 {
			return 100 * (b.cpu - a.cpu).Seconds() / b.at.Sub(a.at).Seconds()
		}},
	} {
		guestflow, err := p.underLimit(ctx, of, p.guestflow)
		if err != nil {
			return err
		}
		naive, err := p.underLimit(ctx, of, p.naive)
		if err != nil {
			return err
		}
		show(row(of.figure, of.online, guestflow, naive, nil))
	}
	return nil
}

// limitFigure is one that is measured of a process while a limit holds it.
type limitFigure struct {
	figure        string
	online, limit int
	turn          time.Duration
	value         func(before, after mark) float64
}

// underLimit measures a figure of a process that begin starts.
func (p Plan) underLimit(ctx context.Context, of limitFigure, begin func(context.Context, *host, int) (*process, error)) ([]float64, error) {
	h, err := p.open(ctx, of.online, -1)
	if err != nil {
		return nil, err
	}
	defer h.close()
	c, err := begin(ctx, h, of.limit)
	if err != nil {
		return nil, err
	}
	defer c.kill()
	if _, err := h.warm(ctx, c, of.online); err != nil {
		return nil, err
	}
	before, err := h.mark(ctx, c)
	if err != nil {
		return nil, err
	}
	values := make([]float64, 0, p.Repeat)
	for range p.Repeat {
		if err := sleep(ctx, of.turn); err != nil {
			return nil, err
		}
		after, err := h.mark(ctx, c)
		if err != nil {
			return nil, err
		}
		values = append(values, of.value(before, after))
		before = after
	}
	return values, nil
}
