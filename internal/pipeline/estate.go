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
	c, err := p.start(ctx, "guestflow", guestflowStream, []string{
		"GUESTFLOW_API_URL=" + h.api.URL, "GUESTFLOW_API_TOKEN=bench", "GUESTFLOW_NATS_URL=" + h.nats.URL(), "GUESTFLOW_HTTP_ADDR=-",
		"GUESTFLOW_DATA_DIR=" + filepath.Join(h.dir, "guestflow"), "GUESTFLOW_API_RATE_LIMIT=" + strconv.Itoa(limit),
		"GUESTFLOW_TRAFFIC_MIN_BYTES=" + strconv.Itoa(trafficMin),
	}, "run")
	if err != nil {
		return nil, err
	}
	c.state = filepath.Join(h.dir, "guestflow")
	return c, nil
}

func (p Plan) naive(ctx context.Context, h *host, limit int) (*process, error) {
	state := filepath.Join(h.dir, "naive.db")
	c, err := p.start(ctx, "naive", naiveStream, nil, "bench", "part", "naive", h.api.URL, h.nats.URL(), state, strconv.Itoa(limit))
	if err != nil {
		return nil, err
	}
	c.state = state
	return c, nil
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
	contenders := []func() (*process, error){
		func() (*process, error) { return p.guestflow(ctx, h, unlimited) },
		func() (*process, error) { return p.naive(ctx, h, unlimited) },
		func() (*process, error) { return p.start(ctx, "read", "", nil, "bench", "part", "read", h.api.URL) },
		func() (*process, error) { return p.start(ctx, "decode", "", nil, "bench", "part", "decode", h.api.URL) },
	}
	if p.Known {
		contenders = contenders[:2]
	}
	for _, begin := range contenders {
		proc, err := begin()
		if err != nil {
			return err
		}
		c := &contender{process: proc}
		all = append(all, c)
		if c.known, err = h.warm(ctx, c.process, online, p.Tell); err != nil {
			return err
		}
		if err := c.stop(); err != nil {
			return err
		}
	}
	if p.Known {
		showKnown(online, all[0].known, all[1].known, show)
		return nil
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
	showKnown(online, guestflow.known, naive.known, show)
	return nil
}

func showKnown(online int, guestflow, naive known, show func(Row)) {
	show(row(KnownS, online, []float64{guestflow.seconds}, []float64{naive.seconds}, nil))
	show(row(KnownCPUS, online, []float64{guestflow.cpu}, []float64{naive.cpu}, nil))
	show(row(KnownPeakMB, online, []float64{guestflow.peak}, []float64{naive.peak}, nil))
	show(row(KnownDiskMB, online, []float64{guestflow.disk}, []float64{naive.disk}, nil))
}

// contender is a consumer and what was measured of it.
type contender struct {
	*process
	known                    known
	rate, cpu, peak, written []float64
}

// known is what it took until a consumer knew every session: seconds from its start, of
// CPU, MB of memory at most, MB of state.
type known struct{ seconds, cpu, peak, disk float64 }

// telling is the time between two words of how far a consumer is.
const telling = 10 * time.Second

// warm waits until a consumer knows every session, and says what that took.
func (h *host) warm(ctx context.Context, c *process, online int, tell func(string)) (is known, err error) {
	if tell == nil {
		tell = func(string) {}
	}
	began, from, told := time.Now(), h.records.Load(), time.Duration(0)
	most := time.Minute + time.Duration(online)*time.Millisecond
	for {
		if err := c.alive(); err != nil {
			return is, err
		}
		took, records := time.Since(began), h.records.Load()-from
		is.seconds = took.Seconds()
		done := records > int64(online)*11/10
		if done && c.stream == guestflowStream {
			n, err := h.stored(ctx, c.stream)
			if err != nil {
				return is, err
			}
			done = n >= uint64(online)*97/100 // As many as are online by chance.
		}
		switch {
		case done:
			is, err = c.known(is)
			tell(fmt.Sprintf("%s: all %d are known after %.1f s; %.1f s of CPU, %.0f MB of memory at most, %.0f MB of state", c.name, online, is.seconds, is.cpu, is.peak, is.disk))
			return is, err
		case took > most:
			return is, fmt.Errorf("%s has not read all after %v: %d records, %d events published; on a machine with nothing else to do it may: %s", c.name, most, records, h.published(ctx, c), c.said.String())
		case took > told+telling:
			told = took
			tell(fmt.Sprintf("%s: %d records, %d events published after %.0f s", c.name, records, h.published(ctx, c), took.Seconds()))
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return is, err
		}
	}
}

// published is how many events of a consumer are in its stream, zero where it has none yet.
func (h *host) published(ctx context.Context, c *process) uint64 {
	if c.stream == "" {
		return 0
	}
	n, _ := h.stored(ctx, c.stream)
	return n
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
	if _, err := h.warm(ctx, c, of.online, p.Tell); err != nil {
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
