package simulator

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// cache is Laravel's cache as its limiter uses it: values with an expiry in whole
// seconds.
type cache map[string]struct {
	value, expires int64
}

func (c cache) get(key string, now int64) (int64, bool) {
	e, ok := c[key]
	return e.value, ok && now < e.expires
}

func (c cache) put(key string, value, now, ttl int64) {
	c[key] = struct{ value, expires int64 }{value, now + ttl}
}

func (c cache) add(key string, value, now, ttl int64) bool {
	if _, ok := c.get(key, now); ok {
		return false
	}
	c.put(key, value, now, ttl)
	return true
}

// reference is Illuminate\Cache\RateLimiter and Illuminate\Routing\Middleware\
// ThrottleRequests, transcribed method by method.
func reference(c cache, max, now, decay int64) (allowed bool, remaining, retryAfter, reset int64) {
	attempts, _ := c.get("key", now)
	if attempts >= max {
		if timer, ok := c.get("key:timer", now); ok {
			return false, 0, timer - now, timer
		}
		delete(c, "key")
	}
	c.add("key:timer", now+decay, now, decay)
	added := c.add("key", 0, now, decay)
	e := c["key"]
	e.value++
	c["key"] = e
	if !added && e.value == 1 {
		c.put("key", 1, now, decay)
	}
	return true, max - e.value, 0, 0
}

func TestLimiterIsLaravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 70).Draw(t, "limit")
		window := rapid.IntRange(1, 90).Draw(t, "window")
		c := newClock()
		s := New(Config{
			Locations: []Location{{ID: "x"}}, RateLimit: limit, Window: time.Duration(window) * time.Second,
		}, c.now)
		ref := cache{}
		for _, ms := range rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 300).Draw(t, "gaps") {
			c.add(time.Duration(ms) * time.Millisecond)
			d := s.Allow(EndpointCount)
			allowed, remaining, retry, reset := reference(ref, int64(limit), c.now().Unix(), int64(window))
			want := Decision{Allowed: allowed, Limit: limit, Remaining: int(remaining), RetryAfter: int(retry), Reset: reset}
			if d != want {
				t.Fatalf("at %v: %+v, Laravel %+v", c.now(), d, want)
			}
		}
	})
}

func TestBudgetsAreSeparateUnlessShared(t *testing.T) {
	for _, shared := range []bool{false, true} {
		c := newClock()
		s := New(Config{Locations: []Location{{ID: "x"}}, SharedLimit: shared}, c.now)
		total := 0
		for _, e := range Endpoints() {
			for range 100 {
				if s.Allow(e).Allowed {
					total++
				}
			}
		}
		if want := map[bool]int{false: 240, true: 60}[shared]; total != want {
			t.Errorf("shared %t: %d allowed, want %d", shared, total, want)
		}
	}
}

func TestWindowOpensAtItsFirstRequest(t *testing.T) {
	c := newClock()
	s := New(Config{Locations: []Location{{ID: "x"}}, RateLimit: 2}, c.now)
	c.add(900 * time.Millisecond)
	s.Allow(EndpointSessions)
	c.add(40 * time.Second)
	s.Allow(EndpointSessions)
	if d := s.Allow(EndpointSessions); d.Allowed || d.RetryAfter != 20 || d.Reset != noon.Unix()+60 {
		t.Errorf("%+v", d)
	}
	// The window opened within second 0, so it ends at 60.0, after 59.1 s.
	c.add(19*time.Second + 99*time.Millisecond)
	if s.Allow(EndpointSessions).Allowed {
		t.Error("open a millisecond early")
	}
	c.add(time.Millisecond)
	if !s.Allow(EndpointSessions).Allowed {
		t.Error("still closed after the window")
	}
}
