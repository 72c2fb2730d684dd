package platform

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Endpoint is one of the API's endpoints; the platform limits each by itself.
type Endpoint string

// The endpoints.
const (
	Sessions  Endpoint = "sessions"  // GET /sessions
	Count     Endpoint = "count"     // GET /sessions/count
	Guests    Endpoint = "guests"    // GET /sessions/:ip
	Locations Endpoint = "locations" // GET /locations
)

// Endpoints lists them all.
func Endpoints() []Endpoint { return []Endpoint{Sessions, Count, Guests, Locations} }

// Config describes how to reach the platform. BaseURL and Token have no default.
type Config struct {
	// BaseURL is what the paths of the endpoints are appended to.
	BaseURL string
	// Token is sent in AuthHeader (default Authorization) behind AuthScheme
	// (default Bearer; "-" sends the bare token), to BaseURL's host alone.
	Token, AuthHeader, AuthScheme string
	// Timeout is for a whole request, body included; zero means 15 s.
	Timeout time.Duration
	// MaxBody is how many bytes of a body are read at most, after decompression;
	// zero means 8 MiB.
	MaxBody int64
	// ByteBase is how many bytes a kB has: 1000, which zero means, or 1024.
	ByteBase int
	// TimeZone is that of times which name none; nil means that it is not known.
	// Where the answers show another one beyond doubt, that is taken instead.
	TimeZone *time.Location
	Privacy  Privacy
	// Forget reports whether something of the platform is of a person who is to be
	// forgotten, by whatever is known of it, as the platform has it; what is not known is
	// empty. It takes out of a session whatever tells who it is of. Nil does nothing.
	Forget func(Identity, *events.Session) bool
	// Guests are to be looked up, so Address has to know addresses that Privacy
	// hides.
	Guests bool
	// UserAgent defaults to "guestflow".
	UserAgent string
	// CA is the path of a PEM file of the authorities that are trusted in place of the
	// system's; ClientCert and ClientKey are those of this client's certificate.
	CA, ClientCert, ClientKey string
	// Proxy is the URL of an HTTP proxy; "-" uses none. Empty takes that of HTTPS_PROXY,
	// HTTP_PROXY and NO_PROXY.
	Proxy string
	// Transport carries the requests; nil means a transport of its own, which is the
	// one that knows the files and the proxy.
	Transport http.RoundTripper
	// May reports whether requests may go out still, and is asked before each; nil is
	// always.
	May func() bool
	// Asked is told of each request once it ended, and whether it was answered, on the
	// goroutine that asked; nil is nobody.
	Asked func(m Meta, answered bool)
	// Now is the local clock; nil means time.Now.
	Now func() time.Time
	// Logger is told once of each field that cannot be read; nil discards it.
	Logger *slog.Logger
}

// Identity is what may tell who something is of.
type Identity struct {
	Session, GuestID, MAC, Email string
}

// Client asks the platform. It is safe for concurrent use.
type Client struct {
	cfg    Config
	base   *url.URL
	http   *http.Client
	clock  *Clock
	intern interner
	// addresses that Privacy hides, where Config.Guests is set.
	addresses addresses
	dialect   dialect
	// http1 is set while the platform does not speak HTTP/2; see once.
	http1 atomic.Bool
	// seen is what could not be read so far.
	seen struct {
		sync.Mutex
		unread  tally
		skipped int
	}
}

// New checks the configuration, and names everything that is wrong with it.
func New(cfg Config) (*Client, error) {
	cfg.AuthHeader = cmp.Or(cfg.AuthHeader, "Authorization")
	cfg.AuthScheme = cmp.Or(cfg.AuthScheme, "Bearer")
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 8<<20)
	cfg.ByteBase = cmp.Or(cfg.ByteBase, 1000)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "guestflow")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if cfg.Transport == nil {
		var err error
		if cfg.Transport, err = cfg.transport(); err != nil {
			errs = append(errs, err)
		}
	}
	base, err := url.Parse(cfg.BaseURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		errs = append(errs, fmt.Errorf("API URL %q: use an absolute http or https URL such as https://api.example.com/api/v1, without user, query or fragment", redacted(cfg.BaseURL)))
	}
	if cfg.ByteBase != 1000 && cfg.ByteBase != 1024 {
		errs = append(errs, fmt.Errorf("byte base %d: use 1000 or 1024", cfg.ByteBase))
	}
	if cfg.Timeout < 0 || cfg.MaxBody < 0 {
		errs = append(errs, errors.New("time-out and body limit must be positive"))
	}
	if !sendable(cfg.Token) {
		errs = append(errs, errors.New("API token: it contains a line break or another control character; check how its file was written"))
	}
	if !sendable(cfg.AuthScheme) || !sendable(cfg.UserAgent) {
		errs = append(errs, errors.New("API auth scheme and user agent must not contain control characters"))
	}
	if !isHeaderName(cfg.AuthHeader) {
		errs = append(errs, fmt.Errorf("API auth header %q: use a header's name", cfg.AuthHeader))
	}
	errs = append(errs, cfg.Privacy.check()...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), strings.TrimRight(base.RawPath, "/")
	c := &Client{
		cfg: cfg, base: base, clock: &Clock{},
		http: &http.Client{
			Transport: cfg.Transport,
			// A redirect would carry the token to wherever it points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.http1.Store(base.Scheme == "http") // TLS may agree on HTTP/2, and does not send again on a new connection
	return c, nil
}

// sendable reports whether v can be part of a header's value.
func sendable(v string) bool {
	return strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

func isHeaderName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// Clock estimates the platform's clock from the answers so far.
func (c *Client) Clock() *Clock { return c.clock }

// Query selects sessions. Empty fields do not filter.
type Query struct {
	LocationID, GuestID, DeviceMAC, YasID string
	// StartDate and EndDate are days, yyyy-mm-dd: the platform's filters have no
	// finer resolution.
	StartDate, EndDate string
	Online             *bool
	// LastSessionFirst is documented for the count alone.
	LastSessionFirst *bool
	// PerPage is at most 100; Page counts from 1. Zero leaves them out.
	PerPage, Page int
}

func (q Query) values() url.Values {
	v := url.Values{}
	text := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	text("location_id", q.LocationID)
	text("guest_id", q.GuestID)
	text("guest_device_mac", q.DeviceMAC)
	text("yas_id", q.YasID)
	text("start_time", q.StartDate)
	text("end_time", q.EndDate)
	flag := func(name string, value *bool) {
		if value != nil {
			v.Set(name, strconv.FormatBool(*value))
		}
	}
	flag("online", q.Online)
	flag("last_session_first", q.LastSessionFirst)
	number := func(name string, value int) {
		if value > 0 {
			v.Set(name, strconv.Itoa(value))
		}
	}
	number("per_page", q.PerPage)
	number("page", q.Page)
	return v
}

// Meta is what is known of an exchange beside its body.
type Meta struct {
	Endpoint Endpoint
	Status   int // 0 where no answer came
	// Sent and Received are on the local clock.
	Sent, Received time.Time
	// Date is the answer's own; zero where it has none.
	Date time.Time
	// Limit and Remaining are those of X-RateLimit-*; -1 where the answer has none.
	Limit, Remaining int
	Bytes            int64 // of the body, decompressed
}

// Answered reports whether an exchange that ended in err had an answer, good or bad.
func (m Meta) Answered(err error) bool { return err == nil || m.Status != 0 }

// Page is one page of sessions.
type Page struct {
	Meta
	Sessions []events.Session
	// Skipped lists records that could not be read: the page is not complete.
	Skipped []Skip
	// Unread lists the fields that could not be read, each once.
	Unread []Unread
	// Zone names the zone in which times without one were read; empty where all
	// times name theirs, or it is not known.
	Zone string
	// Records is how many the page had, skipped ones included.
	Records int
	// PerPage and Number are the platform's own word; zero where it gives none.
	PerPage, Number int
	// More says that the platform has a next page.
	More bool
	// Suspicious describes a next link that leads elsewhere than to the next page
	// of the same host. It is never followed: pages are asked for by number.
	Suspicious string
}

// Skip is a record that was left out, with everything that could be read of it. It
// cannot become an event, but it is a session that is there. With an ID it proves
// about that session what any record proves; without one it may stand for any
// session that MayHide does not exclude.
type Skip struct {
	ID, LocationID, GuestID, YasID string
	DeviceMAC                      string // after privacy
	StartedAt                      time.Time
	// Field made the record unreadable: id, location_id, or record for one that is
	// not an object. Reason says what is wrong with it, without its value.
	Field, Reason string
}

// MayHide reports whether the record may be that of a session, which then is not
// proven absent from the page. A record with an ID is that session alone. One
// without may be any session that has its guest, yas_id, MAC or start; where none
// of these is known of both, it may be anybody's.
func (s *Skip) MayHide(session *events.Session) bool {
	if s.ID != "" {
		return s.ID == session.ID
	}
	compared := false
	for _, pair := range [...][2]string{{s.GuestID, session.GuestID}, {s.YasID, session.YasID}, {s.DeviceMAC, session.DeviceMAC}} {
		if pair[0] == "" || pair[1] == "" {
			continue
		}
		if pair[0] == pair[1] {
			return true
		}
		compared = true
	}
	if !s.StartedAt.IsZero() && !session.StartedAt.IsZero() {
		if s.StartedAt.Equal(session.StartedAt) {
			return true
		}
		compared = true
	}
	return !compared
}

// Sessions asks for one page of sessions.
func (c *Client) Sessions(ctx context.Context, q Query) (Page, error) {
	for _, day := range []string{q.StartDate, q.EndDate} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return Page{}, fmt.Errorf("sessions: date %q: use yyyy-mm-dd", day)
		}
	}
	room := bodies.Get().(*bytes.Buffer)
	defer func() {
		if room.Cap() <= largestKept {
			room.Reset()
			bodies.Put(room)
		}
	}()
	body, m, err := c.getInto(ctx, room, Sessions, "/sessions", q.values())
	if err != nil {
		return Page{Meta: m}, err
	}
	page, err := c.decodePage(body, q, m.Date)
	page.Meta = m
	if err != nil {
		return Page{Meta: m}, c.malformed(Sessions, m, body, err)
	}
	c.count(&page)
	return page, nil
}

// Count asks how many sessions a query selects.
func (c *Client) Count(ctx context.Context, q Query) (int, Meta, error) {
	body, m, err := c.get(ctx, Count, "/sessions/count", q.values())
	if err != nil {
		return 0, m, err
	}
	n, err := decodeCount(body)
	if err != nil {
		return 0, m, c.malformed(Count, m, body, err)
	}
	return n, m, nil
}

// bodies are buffers of pages that were read, to be used again: nothing that was read
// points into them. One that grew beyond largestKept is left.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const largestKept = 1 << 20

// errMayNot keeps a request from being sent; see Config.May.
var errMayNot = errors.New("another process may poll the account by now, and spend its limit")

// get sends one request and reads its body.
func (c *Client) get(ctx context.Context, endpoint Endpoint, path string, query url.Values) ([]byte, Meta, error) {
	return c.getInto(ctx, new(bytes.Buffer), endpoint, path, query)
}

// getInto is get with room for the body.
func (c *Client) getInto(ctx context.Context, room *bytes.Buffer, endpoint Endpoint, path string, query url.Values) ([]byte, Meta, error) {
	body, m, err := c.exchange(ctx, room, endpoint, path, query)
	if c.cfg.Asked != nil && !m.Sent.IsZero() && !errors.Is(err, errMayNot) {
		c.cfg.Asked(m, m.Answered(err))
	}
	return body, m, err
}

func (c *Client) exchange(ctx context.Context, room *bytes.Buffer, endpoint Endpoint, path string, query url.Values) ([]byte, Meta, error) {
	m := Meta{Endpoint: endpoint, Limit: -1, Remaining: -1}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	u := *c.base
	u.Path += path
	if u.RawPath != "" {
		u.RawPath += path
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, m, &Error{Kind: Malformed, Endpoint: endpoint, Err: err}
	}
	c.once(req)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if c.cfg.Token != "" {
		value := c.cfg.Token
		if c.cfg.AuthScheme != "-" {
			value = c.cfg.AuthScheme + " " + value
		}
		req.Header.Set(c.cfg.AuthHeader, value)
	}
	m.Sent = c.cfg.Now()
	if c.cfg.May != nil && !c.cfg.May() {
		m.Received = m.Sent
		return nil, m, &Error{Kind: Network, Endpoint: endpoint, Err: errMayNot}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		m.Received = c.cfg.Now()
		return nil, m, c.networkError(endpoint, m, err)
	}
	defer resp.Body.Close()
	m.Received = c.cfg.Now()
	m.Status = resp.StatusCode
	c.http1.Store(resp.ProtoMajor == 1)
	m.Limit, m.Remaining = headerInt(resp.Header, "X-RateLimit-Limit"), headerInt(resp.Header, "X-RateLimit-Remaining")
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		m.Date = date
		c.clock.Sample(m.Sent, m.Received, date)
	}
	_, err = room.ReadFrom(io.LimitReader(resp.Body, c.cfg.MaxBody+1))
	body := room.Bytes()
	m.Received = c.cfg.Now()
	m.Bytes = int64(len(body))
	if resp.StatusCode != http.StatusOK {
		return nil, m, c.statusError(endpoint, m, resp.Header, body)
	}
	if err != nil {
		return nil, m, c.networkError(endpoint, m, fmt.Errorf("the body was cut off after %d bytes: %w", len(body), err))
	}
	if m.Bytes > c.cfg.MaxBody {
		return nil, m, &Error{Kind: TooLarge, Endpoint: endpoint, Meta: m, Err: fmt.Errorf("more than %d bytes", c.cfg.MaxBody)}
	}
	return bytes.TrimPrefix(body, []byte("\ufeff")), m, nil // some frameworks begin with a byte order mark
}

// once has net/http send a request one time. Where a connection that served others ends
// before the answer, it sends a GET again by itself, unless it has a body, be that empty: the
// platform may have counted both, and the budget knows of one. HTTP/2 says which were not
// taken, and shows the empty body.
func (c *Client) once(req *http.Request) {
	if c.http1.Load() {
		req.Body = io.NopCloser(strings.NewReader(""))
	}
}

func headerInt(h http.Header, name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(h.Get(name)))
	if err != nil || n < 0 {
		return -1
	}
	return n
}
