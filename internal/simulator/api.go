package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// answer is a response that is made but not sent.
type answer struct {
	status int
	header http.Header
	body   []byte
	served *Truth        // logged once the body has been handed over
	stall  time.Duration // before it is sent
	cut    bool
	length bool // a cut-off body announces its full length
}

// request is one request on its way through the API.
type request struct {
	*http.Request
	n        uint64
	t        int64 // on the platform's clock
	endpoint Endpoint
	ips      string
	struck   map[FaultKind]strike
}

// strike is a fault that struck a request; h decides its details.
type strike struct {
	*Fault
	left time.Duration
	h    uint64
}

// ServeHTTP answers as the platform does. The data are read once half of
// Config.Latency has passed. A fault that cuts the body off panics with
// http.ErrAbortHandler, as net/http wants it.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	n := s.requests
	s.mu.Unlock()
	half := time.Duration(0)
	if s.cfg.Latency != nil {
		half = s.cfg.Latency(n) / 2
	}
	if s.cfg.Sleep(r.Context(), half) != nil {
		return
	}
	a := s.answer(&request{Request: r, n: n})
	if s.cfg.Sleep(r.Context(), half+a.stall) != nil {
		return
	}
	if send(w, a) == nil && r.Context().Err() == nil && a.served != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tell(*a.served)
	}
}

func send(w http.ResponseWriter, a *answer) error {
	h := w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	body := a.body
	if a.cut {
		body = body[:len(body)/2]
	}
	if !a.cut || a.length {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	_, err := w.Write(body)
	if flushErr := http.NewResponseController(w).Flush(); err == nil && !errors.Is(flushErr, http.ErrNotSupported) {
		err = flushErr
	}
	if a.cut {
		panic(http.ErrAbortHandler)
	}
	return err
}

// answer makes the response at one instant. The order is Laravel's: route, token,
// limiter, controller; faults come in where their cause would.
func (s *Simulator) answer(r *request) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.t = s.advance()
	known := s.route(r)
	s.strike(r)
	a := &answer{header: http.Header{"Cache-Control": {"no-cache, private"}}}
	date := time.Unix(0, r.t)
	if f, ok := r.struck[FaultSkew]; ok {
		date = date.Add(f.Amount)
	}
	a.header.Set("Date", date.UTC().Format(http.TimeFormat))
	if f, ok := r.struck[FaultStall]; ok {
		a.stall = f.Amount
	}
	if !known {
		return a.fail(r, http.StatusNotFound, "The route "+strings.Trim(r.URL.Path, "/")+" could not be found.")
	}
	if r.Method != http.MethodGet {
		a.header.Set("Allow", "GET")
		return a.fail(r, http.StatusMethodNotAllowed, "The "+r.Method+" method is not supported for this route. Supported methods: GET.")
	}
	if _, revoked := r.struck[FaultRevoked]; revoked || !s.authorised(r.Request) {
		return a.fail(r, http.StatusUnauthorized, "Unauthenticated.")
	}
	if _, ok := r.struck[FaultForbidden]; ok {
		return a.fail(r, http.StatusForbidden, "This action is unauthorized.")
	}
	if !s.limited(r, a) {
		s.respond(r, a)
	}
	return a
}

// route finds the endpoint; false where there is none.
func (s *Simulator) route(r *request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, strings.TrimRight(s.cfg.BasePath, "/")+"/")
	if !ok {
		return false
	}
	switch rest, under := strings.CutPrefix(path, "sessions/"); {
	case path == "sessions":
		r.endpoint = EndpointSessions
	case path == "locations" && s.cfg.HasLocations:
		r.endpoint = EndpointLocations
	case path == "sessions/count" && s.cfg.HasCount:
		r.endpoint = EndpointCount
	case under && rest != "" && rest != "count" && !strings.Contains(rest, "/"):
		r.endpoint, r.ips = EndpointIP, rest
	default:
		return false
	}
	return true
}

func (s *Simulator) authorised(r *http.Request) bool {
	want := s.cfg.Token
	if want == "" {
		return true
	}
	if s.cfg.AuthScheme != "-" {
		want = s.cfg.AuthScheme + " " + want
	}
	return r.Header.Get(s.cfg.AuthHeader) == want
}

// limited asks the limiter, sets its headers, and makes the 429.
func (s *Simulator) limited(r *request, a *answer) bool {
	d := Decision{Limit: s.cfg.RateLimit}
	if f, ok := r.struck[FaultLimit]; ok {
		wait := f.Amount
		if wait < 0 {
			wait = min(f.left, time.Minute)
		}
		d.RetryAfter = int((wait + time.Second - 1) / time.Second)
		d.Reset = r.t/int64(time.Second) + int64(d.RetryAfter)
		s.tell(Truth{Kind: TruthLimited, Time: time.Unix(0, r.t).UTC(), Endpoint: r.endpoint, Fault: FaultLimit})
	} else if d = s.allow(r.endpoint, r.t); d.Limit < 0 {
		return false
	}
	a.header.Set("X-RateLimit-Limit", strconv.Itoa(d.Limit))
	a.header.Set("X-RateLimit-Remaining", strconv.Itoa(d.Remaining))
	if d.Allowed {
		return false
	}
	a.header.Set("Retry-After", strconv.Itoa(d.RetryAfter))
	a.header.Set("X-RateLimit-Reset", strconv.FormatInt(d.Reset, 10))
	a.fail(r, http.StatusTooManyRequests, "Too Many Attempts.")
	return true
}

// respond is the controller, with what can go wrong there.
func (s *Simulator) respond(r *request, a *answer) {
	if f, ok := r.struck[FaultServer]; ok {
		status := f.Status
		if status == 0 {
			status = []int{500, 502, 503, 504}[f.h%4]
		}
		a.fail(r, status, "Server Error")
		return
	}
	a.status = http.StatusOK
	a.header.Set("Content-Type", "application/json")
	switch r.endpoint {
	case EndpointSessions:
		s.listSessions(r, a)
	case EndpointCount:
		q, _ := queryOf(r.URL.Query())
		x := s.pop.selectSessions(q)
		a.body = fmt.Appendf(nil, `{"count":%d}`, x.len())
	case EndpointIP:
		s.lookUpIPs(r, a)
	case EndpointLocations:
		s.listLocations(r, a)
	}
	if f, ok := r.struck[FaultHTML]; ok {
		a.status = []int{http.StatusOK, http.StatusBadGateway}[f.h%2]
		a.html("We'll be right back", "The service is under maintenance.")
	}
	if f, ok := r.struck[FaultCut]; ok {
		a.cut, a.length, a.served = true, f.h%2 == 0, nil
	}
}

// fail makes an error: JSON for a client that accepts it, else HTML.
func (a *answer) fail(r *request, status int, message string) *answer {
	a.status, a.served = status, nil
	if strings.Contains(r.Header.Get("Accept"), "json") {
		a.header.Set("Content-Type", "application/json")
		a.body = append(appendString([]byte(`{"message":`), message), '}')
		return a
	}
	a.html(http.StatusText(status), message)
	return a
}

func (a *answer) html(title, text string) {
	a.served = nil
	a.header.Set("Content-Type", "text/html; charset=UTF-8")
	a.body = fmt.Appendf(nil, "<!DOCTYPE html>\n<html lang=\"en\"><head><title>%s</title></head><body><h1>%s</h1></body></html>\n", title, text)
}

// strike finds the faults that strike r, and logs them.
func (s *Simulator) strike(r *request) {
	since := s.now().Sub(s.began)
	for i := range s.cfg.Faults {
		f := &s.cfg.Faults[i]
		left, ok := f.strikes(s.cfg.Seed, i, r.n, r.endpoint, since)
		if !ok {
			continue
		}
		if r.struck == nil {
			r.struck = make(map[FaultKind]strike)
		}
		r.struck[f.Kind] = strike{f, left, hash(s.cfg.Seed, 61, uint64(i), r.n)}
		s.tell(Truth{Kind: TruthFault, Time: time.Unix(0, r.t).UTC(), Endpoint: r.endpoint, Fault: f.Kind})
	}
}

// queryOf reads the documented parameters. What cannot be read is ignored, as
// Laravel does; an invalid page is page 1.
func queryOf(v url.Values) (q Query, perPageGiven bool) {
	q = Query{
		Location: v.Get("location_id"), Guest: v.Get("guest_id"),
		MAC: strings.ToLower(v.Get("guest_device_mac")), Yas: v.Get("yas_id"),
	}
	q.Online = Presence(toggle(v.Get("online")))
	q.LastFirst = toggle(v.Get("last_session_first"))
	q.StartDay, _ = time.Parse(time.DateOnly, v.Get("start_time"))
	q.EndDay, _ = time.Parse(time.DateOnly, v.Get("end_time"))
	q.Page, _ = strconv.Atoi(v.Get("page"))
	if q.Page < 1 || q.Page > 1<<40 || strings.HasPrefix(v.Get("page"), "+") {
		q.Page = 1
	}
	perPage, err := strconv.Atoi(v.Get("per_page"))
	if err == nil {
		q.PerPage = perPage
	}
	return q, err == nil
}

func toggle(v string) Toggle {
	switch strings.ToLower(v) {
	case "1", "true", "on", "yes":
		return True
	case "0", "false", "off", "no":
		return False
	}
	return Absent
}

// filters is the inverse of queryOf, without page and per_page.
func (q Query) filters() url.Values {
	v := url.Values{}
	set := func(name, value string, ok bool) {
		if ok {
			v.Set(name, value)
		}
	}
	set("location_id", q.Location, q.Location != "")
	set("guest_id", q.Guest, q.Guest != "")
	set("guest_device_mac", q.MAC, q.MAC != "")
	set("yas_id", q.Yas, q.Yas != "")
	set("online", strconv.FormatBool(q.Online == Online), q.Online != Any)
	set("last_session_first", strconv.FormatBool(q.LastFirst == True), q.LastFirst != Absent)
	set("start_time", q.StartDay.UTC().Format(time.DateOnly), !q.StartDay.IsZero())
	set("end_time", q.EndDay.UTC().Format(time.DateOnly), !q.EndDay.IsZero())
	return v
}
