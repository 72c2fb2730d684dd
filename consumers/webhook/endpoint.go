package webhook

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// maxConcurrency keeps a slip of the keyboard from opening 100,000 connections.
const maxConcurrency = 1000

var (
	validName        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	validHeaderName  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	validHeaderValue = regexp.MustCompile(`^[^\x00-\x08\x0a-\x1f\x7f]*$`)
)

// endpoint checks an entry. The error joins all that is wrong with it.
func (l *loader) endpoint(raw entry) (Endpoint, error) {
	var problems []error
	wrong := func(field string, err error) { problems = append(problems, raw.wrong(field, err)) }
	e := Endpoint{
		Name: raw.Name, Locations: raw.Locations, Groups: raw.Groups, Condition: raw.Condition, Ordered: raw.Ordered,
		AllowPrivate: raw.AllowPrivate, Concurrency: DefaultConcurrency, Format: CloudEvents,
	}
	var err error
	if !validName.MatchString(e.Name) {
		wrong("name", errors.New("must be 1 to 63 letters, digits, '-' or '_', and begin with a letter or digit"))
	}
	if e.URL, err = parseURL(raw.URL, raw.AllowPrivate); err != nil {
		wrong("url", err)
	}
	if e.Secrets, err = l.secrets(raw.Secrets); err != nil {
		wrong("secrets", err)
	}
	l.filter(&e, raw, wrong)
	e.limit(raw, wrong)
	if raw.Format != "" {
		if e.Format = Format(raw.Format); !e.Format.valid() {
			wrong("format", fmt.Errorf("%q is none of %s, %s, %s", raw.Format, CloudEvents, CloudEventsBinary, PlainData))
		}
	}
	if e.ContentType, err = contentType(raw.ContentType, e.Format); err != nil {
		wrong("content_type", err)
	}
	l.content(&e, raw, wrong)
	if e.Timeout, err = duration(raw.Timeout, DefaultTimeout, 10*time.Minute); err != nil {
		wrong("timeout", err)
	}
	if e.MaxAge, err = duration(raw.MaxAge, 0, 30*24*time.Hour); err != nil {
		wrong("max_age", err)
	}
	unset := DefaultMaxRetry
	if e.MaxAge > 0 {
		unset = min(unset, e.MaxAge)
	}
	if e.MaxRetry, err = duration(raw.MaxRetry, unset, 30*24*time.Hour); err != nil {
		wrong("max_retry", err)
	}
	if e.headers, err = l.header(raw.Headers); err != nil {
		wrong("headers", err)
	}
	if e.oauth, err = l.oauth(raw); err != nil {
		wrong("oauth2", err)
	}
	problems = append(problems, l.route(&e, raw)...)
	if len(problems) > 0 {
		return e, errors.Join(problems...)
	}
	e.identify(raw, l.groups)
	return e, nil
}

// filter reads which events the endpoint gets; wrong is told of what cannot be.
func (l *loader) filter(e *Endpoint, raw entry, wrong func(field string, err error)) {
	var err error
	if e.topic, err = topicNamed(raw.Stream); err != nil {
		wrong("stream", err)
		return
	}
	e.Stream = e.topic.name
	var problems []error
	e.Kinds, problems = e.topic.kindsOf(raw.Kinds)
	for _, problem := range problems {
		wrong("kinds", problem)
	}
	for _, glob := range raw.Locations {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			wrong("locations", fmt.Errorf("%q is not a glob; '*' stands for any text, '?' for one character, '[a-c]' for one of several", glob))
		}
	}
	if e.in, err = l.inGroups(e.topic, raw.Groups); err != nil {
		wrong("groups", err)
	}
	if raw.Condition == "" {
		return
	}
	if e.condition, err = e.topic.condition(raw.Condition, l.groups); err == nil {
		err = l.refuse(raw.Condition)
	}
	if err != nil {
		wrong("condition", err)
	}
}

// content reads what of an event goes out, and in which words; wrong is told of what
// cannot be.
func (l *loader) content(e *Endpoint, raw entry, wrong func(field string, err error)) {
	if e.topic == nil { // told already
		return
	}
	e.Body, e.Fields = raw.Body, raw.Fields
	if raw.Body == "" {
		var err error
		if e.cutting, err = l.fieldsOf(e.topic, raw.Fields); err != nil {
			wrong("fields", err)
		}
		return
	}
	if raw.Fields != nil {
		wrong("fields", errors.New("body says itself what is sent; remove one of both"))
	}
	if raw.Format != "" {
		wrong("format", errors.New("body makes the whole body; remove one of both"))
	}
	var err error
	if e.body, err = e.topic.template(raw.Body, raw.ContentType, l.groups); err == nil {
		err = l.refuse(raw.Body)
	}
	if err == nil && (raw.Condition == "" || e.condition != nil) {
		err = e.body.try(*e)
	}
	if err != nil {
		wrong("body", err)
	}
}

// limit sets how much goes out at once; wrong is told of what cannot be.
func (e *Endpoint) limit(raw entry, wrong func(field string, err error)) {
	if raw.RateLimit != nil {
		if e.RateLimit = *raw.RateLimit; e.RateLimit <= 0 {
			wrong("rate_limit", errors.New("must be more than 0 requests a second; leave it out for no limit"))
		}
	}
	if raw.Concurrency != nil {
		if e.Concurrency = *raw.Concurrency; e.Concurrency < 1 || e.Concurrency > maxConcurrency {
			wrong("concurrency", fmt.Errorf("must be 1 to %d", maxConcurrency))
		}
	}
}

func contentType(text string, f Format) (string, error) {
	if text == "" {
		return "", nil
	}
	if f == CloudEventsBinary {
		return "", fmt.Errorf("%s sends that of the data; leave it out, or choose another format", f)
	}
	typ, parameters, err := mime.ParseMediaType(text)
	if err != nil || !strings.Contains(typ, "/") {
		return "", fmt.Errorf("%q is no content type; write for instance %s", text, jsonType)
	}
	return mime.FormatMediaType(typ, parameters), nil
}

func duration(text string, unset, most time.Duration) (time.Duration, error) {
	if text == "" {
		return unset, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > most {
		return 0, fmt.Errorf("%q is not a duration above 0 and up to %s; write for instance 10s, 5m or 24h", text, most)
	}
	return d, nil
}

// parseURL never puts the URL into an error, since its path or query may hold a
// token.
func parseURL(text string, private bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("is missing")
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("must be an absolute http:// or https:// URL")
	case u.User != nil:
		return nil, errors.New("must not hold a user or password; use headers for that")
	case u.Fragment != "":
		return nil, errors.New("must not have a #fragment, which is never sent")
	}
	// A literal address can be refused now; a name is judged at each connect.
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && !private && !public(a) {
		return nil, fmt.Errorf("%s: %w; set allow_private for the endpoint if this is meant", a, ErrPrivateAddress)
	}
	return u, nil
}

func (l *loader) secrets(texts []string) ([]Secret, error) {
	if len(texts) == 0 {
		return nil, fmt.Errorf("at least one is needed, so that the receiver can verify; %s", makeSecret)
	}
	var out []Secret
	for n, text := range texts {
		value, err := l.reference(text)
		if err != nil {
			return nil, fmt.Errorf("number %d: %w", n+1, err)
		}
		s, err := ParseSecret(value)
		if err != nil {
			return nil, fmt.Errorf("number %d: %w", n+1, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// ours are the headers that the dispatcher or net/http sets.
var ours = map[string]bool{
	"Content-Length": true, "Host": true, "Connection": true, "Transfer-Encoding": true,
	"Te": true, "Trailer": true, "Upgrade": true, "Accept-Encoding": true, "User-Agent": true, "Expect": true,
	"Proxy-Authorization": true, "Keep-Alive": true, "Proxy-Connection": true, HeaderDelivery: true,
}

func (l *loader) header(raw map[string]string) (http.Header, error) {
	h := http.Header{}
	for name, text := range raw {
		key := textproto.CanonicalMIMEHeaderKey(name)
		if !validHeaderName.MatchString(name) {
			return nil, fmt.Errorf("%q is not a header name", name)
		}
		if key == "Content-Type" {
			return nil, fmt.Errorf("%q is set by the dispatcher; use content_type", name)
		}
		if ours[key] || strings.HasPrefix(key, "Webhook-") || strings.HasPrefix(key, "Ce-") {
			return nil, fmt.Errorf("%q is set by the dispatcher; remove it", name)
		}
		value, err := l.reference(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		if _, quoted := handwritten.Unquoted(value); quoted && handwritten.IsReference(text) {
			return nil, fmt.Errorf("%q: the value of %s is in quotation marks, which docker --env-file and the like keep; remove them there, or write the value into this file if they are meant", name, text)
		}
		if !validHeaderValue.MatchString(value) {
			return nil, fmt.Errorf("%q: the value has a character that a header cannot hold", name)
		}
		h[key] = []string{value}
	}
	return h, nil
}
