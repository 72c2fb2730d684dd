package webhook

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/handwritten"
	"github.com/guestflow/guestflow/internal/outbound"
)

// Defaults of an endpoint's optional fields.
const (
	DefaultConcurrency = 8
	DefaultTimeout     = 10 * time.Second
	DefaultMaxRetry    = 24 * time.Hour
)

// Config is a checked endpoints file.
type Config struct {
	Endpoints []Endpoint
	files     []string // that it refers to
}

// Endpoint is one checked entry of the file, with its references resolved. It
// can be printed: secrets and headers are hidden.
type Endpoint struct {
	// Name is unique in the file: letters, digits, '-' and '_'. It names the
	// durable consumer, so a renamed endpoint is a new one.
	Name string
	URL  *url.URL
	// Secrets sign every request, each with a signature of its own.
	Secrets []Secret
	// Stream is whose events it gets: "sessions", "visits", "alerts" or "forgotten".
	Stream string
	// Kinds and Locations choose events; empty means all. Locations are globs in
	// the syntax of path.Match over location ids; of a visit, all of its locations
	// count, and its place.
	Kinds     []string
	Locations []string
	// Groups are those whose locations count; empty means all. Of a visit, one of its
	// locations will do.
	Groups []string
	// Condition is the source of the expression; empty is always true.
	Condition string
	// RateLimit is in requests a second; zero means none.
	RateLimit float64
	// Concurrency is how many requests may be under way at once.
	Concurrency int
	// Ordered keeps the events of one session in order.
	Ordered bool
	Format  Format
	// Body is the source of the expression that makes the body; empty where Format does.
	Body string
	// Fields are the personal fields that it gets, and with a minus those that it does
	// not get.
	Fields []string
	// ContentType replaces the format's own; empty keeps that.
	ContentType string
	// Timeout is for one request, from connecting to the end of the answer.
	Timeout time.Duration
	// MaxRetry bounds the sum of an event's waits between tries (Retry-After
	// aside, which counts as the wait that it replaces).
	MaxRetry time.Duration
	// MaxAge is the greatest age at which an event is tried for the first time; zero
	// means any. MaxRetry is not longer unless the entry says so.
	MaxAge time.Duration
	// AllowPrivate permits addresses that are not on the public internet.
	AllowPrivate bool

	headers     http.Header  // may hold tokens, so not exported
	proxy       *url.URL     // may hold a password; nil for none
	pem         outbound.PEM // digested below
	tls         *tls.Config  // of pem
	topic       *topic       // of Stream
	in          *group.Set   // the locations of Groups; nil for all
	condition   *condition
	body        *template
	oauth       *clientcredentials.Config // nil for none
	cutting     cutting                   // what of an event is left out
	fingerprint string                    // of the entry as written, inline secrets aside
	digest      string                    // of everything, resolved secrets included; never leaves the process
}

// Find returns the endpoint of that name; the error lists the names there are.
func (c Config) Find(name string) (Endpoint, error) {
	var names []string
	for _, e := range c.Endpoints {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	if len(names) == 0 {
		return Endpoint{}, fmt.Errorf("no webhook endpoint %q: the file has none", name)
	}
	return Endpoint{}, fmt.Errorf("no webhook endpoint %q in the file%s", name, handwritten.DidYouMean(name, names))
}

// String is the name: fmt would show the headers too.
func (e Endpoint) String() string { return "webhook endpoint " + e.Name }

// GoString keeps %#v from showing more.
func (e Endpoint) GoString() string { return e.String() }

// LogValue keeps slog from showing more.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.String()) }

// Load reads and checks an endpoints file, YAML or JSON. The error names the
// file and, where one is known, the line of every entry that is wrong; the Config
// that comes with it has no endpoints. A condition must not ask for what is
// absent; nil when every field may be there. groups are those that there are; nil
// is none.
func Load(path string, absent Absent, groups *group.Tree) (Config, error) {
	data, err := handwritten.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("webhook endpoints: %w; give the path of an existing file", err)
	}
	return load(path, data, absent, groups)
}

// load tells the files that the content refers to with an error too.
func load(path string, data []byte, absent Absent, groups *group.Tree) (Config, error) {
	l := loader{folder: filepath.Dir(path), absent: absent, groups: groups, env: os.LookupEnv, read: handwritten.ReadFile}
	cfg, err := l.parse(data)
	if err != nil {
		cfg, err = Config{}, fmt.Errorf("webhook endpoints file %s: %w", path, err)
	}
	cfg.files = l.files
	return cfg, err
}

// loader turns the bytes of a file into a Config; what it reads besides comes in
// by its fields.
type loader struct {
	folder string
	absent Absent
	groups *group.Tree
	env    func(string) (string, bool)
	read   func(string) ([]byte, error)
	files  []string
}

func (l *loader) parse(data []byte) (Config, error) {
	text, err := handwritten.Decoded(data)
	if err != nil {
		return Config{}, err
	}
	doc, err := handwritten.ReadDocument([]byte(text), "endpoints")
	if err != nil {
		return Config{}, err
	}
	cfg := Config{}
	entries, problems := endpointsFile{doc}.entries()
	lines := map[string]int{}
	for _, raw := range entries {
		e, err := l.endpoint(raw)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		line := raw.lineOf("name")
		if first, dup := lines[e.Name]; dup {
			problems = append(problems, fmt.Errorf("line %d: endpoint name %q is used on line %d already; names must be unique", line, e.Name, first))
		}
		lines[e.Name] = line
		cfg.Endpoints = append(cfg.Endpoints, e)
	}
	return cfg, errors.Join(byLine(problems)...)
}

// byLine sorts what is wrong as it stands in the file.
func byLine(problems []error) []error {
	var each []error
	for _, p := range problems {
		if joined, ok := p.(interface{ Unwrap() []error }); ok {
			each = append(each, joined.Unwrap()...)
		} else {
			each = append(each, p)
		}
	}
	line := func(err error) (n int) {
		_, _ = fmt.Sscanf(err.Error(), "line %d:", &n) // 0 where it is of none
		return n
	}
	slices.SortStableFunc(each, func(a, b error) int { return cmp.Compare(line(a), line(b)) })
	return each
}

// identify fills in the two digests of the endpoint.
func (e *Endpoint) identify(raw entry, groups *group.Tree) {
	for i, s := range raw.Secrets {
		if !handwritten.IsReference(s) {
			raw.Secrets[i] = ""
		}
	}
	if !handwritten.IsReference(raw.Proxy) {
		raw.Proxy = ""
	}
	if secret := raw.OAuth2["client_secret"]; secret != "" && !handwritten.IsReference(secret) {
		raw.OAuth2["client_secret"] = ""
	}
	written, _ := json.Marshal(raw) // strings, numbers and maps of them: cannot fail
	sum := sha256.Sum256(written)
	e.fingerprint = hex.EncodeToString(sum[:12])
	all := sha256.New()
	all.Write(written)
	for _, s := range e.Secrets {
		all.Write([]byte{byte(len(s.key))})
		all.Write(s.key)
	}
	if e.oauth != nil {
		fmt.Fprintf(all, "%q %q", e.oauth.ClientID, e.oauth.ClientSecret)
	}
	headers, _ := json.Marshal(e.headers)
	all.Write(headers)
	if e.in != nil {
		fmt.Fprintf(all, "%q", e.in.Places())
	}
	if e.condition != nil && e.condition.groups != nil || e.body != nil && e.body.groups != nil {
		_ = groups.Walk(func(g *group.Group, depth int) error { // what they mean may have changed
			_, err := fmt.Fprintf(all, "%d %q %q", depth, g.ID, g.Set().Places())
			return err
		})
	}
	fmt.Fprintf(all, "%q %q %q %v", e.pem.CA, e.pem.Cert, e.pem.Key, e.proxy)
	e.digest = string(all.Sum(nil))
}

// takes reports whether kind and place are among those asked for.
func (e *Endpoint) takes(n notice) bool {
	if len(e.Kinds) > 0 && !slices.Contains(e.Kinds, n.kind) {
		return false
	}
	if e.in != nil && !slices.ContainsFunc(n.places, func(place string) bool { return e.in.Has(n.account, place) }) {
		return false
	}
	return len(e.Locations) == 0 || slices.ContainsFunc(n.places, e.globs)
}

// globs reports whether any of the endpoint's matches a place.
func (e *Endpoint) globs(place string) bool {
	return slices.ContainsFunc(e.Locations, func(glob string) bool {
		ok, _ := path.Match(glob, place)
		return ok
	})
}

// match reports whether the endpoint wants the event; the error is that of its
// condition, with false.
func (e *Endpoint) match(n notice) (bool, error) {
	if !e.takes(n) {
		return false, nil
	}
	return e.condition.match(n)
}
