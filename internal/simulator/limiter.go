package simulator

import "time"

// Endpoint names one of the platform's endpoints.
type Endpoint string

// The endpoints, each with a budget of its own unless Config.SharedLimit.
const (
	EndpointSessions  Endpoint = "sessions"
	EndpointCount     Endpoint = "count"
	EndpointIP        Endpoint = "ip"
	EndpointLocations Endpoint = "locations"
)

// Endpoints lists them.
func Endpoints() []Endpoint {
	return []Endpoint{EndpointSessions, EndpointCount, EndpointIP, EndpointLocations}
}

// Decision is the limiter's answer to one request.
type Decision struct {
	// Allowed is false for a 429, which does not count as a request.
	Allowed bool
	// Limit is -1 without a limit; Remaining is what is left after this request.
	Limit, Remaining int
	// RetryAfter and Reset are set when refused: whole seconds to wait, and the
	// Unix time of the end of the window on the platform's clock.
	RetryAfter int
	Reset      int64
}

// limiter is Laravel's: a fixed window that opens at its first request and lasts
// for whole seconds of the clock, so that it can be up to a second shorter than
// it says. (Illuminate\Cache\RateLimiter: a counter and a timer with the same
// expiry, both by the clock in seconds.)
type limiter struct {
	max     int
	seconds int64
	windows map[Endpoint]*window
	shared  bool
}

type window struct {
	hits    int
	expires int64 // Unix second; the window is over from then on
}

func newLimiter(cfg *Config) *limiter {
	return &limiter{
		max: cfg.RateLimit, seconds: int64(cfg.Window / time.Second),
		windows: make(map[Endpoint]*window), shared: cfg.SharedLimit,
	}
}

func (l *limiter) allow(e Endpoint, at int64) Decision {
	if l.max < 0 {
		return Decision{Allowed: true, Limit: -1}
	}
	if l.shared {
		e = ""
	}
	w := l.windows[e]
	if w == nil {
		w = &window{}
		l.windows[e] = w
	}
	now := at / int64(time.Second)
	if now >= w.expires {
		*w = window{expires: now + l.seconds}
	}
	if w.hits >= l.max {
		wait := w.expires - now
		return Decision{Limit: l.max, RetryAfter: int(wait), Reset: w.expires}
	}
	w.hits++
	return Decision{Allowed: true, Limit: l.max, Remaining: l.max - w.hits}
}
