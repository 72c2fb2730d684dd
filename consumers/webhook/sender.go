package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/guestflow/guestflow/internal/outbound"
)

// maxAnswer is how much of an answer's body is read, in bytes. Beyond it the
// connection is closed rather than used again.
const maxAnswer = 64 << 10

const userAgent = "guestflow-webhook/1"

var errRender = errors.New("cannot be put into the form that the endpoint asks for")

// sender makes the requests of one endpoint, over connections of its own.
type sender struct {
	endpoint  Endpoint
	client    *http.Client
	transport *outbound.Transport
	tokens    *tokens // nil where requests need none
	now       func() time.Time
	key       string // opens who is to be forgotten
}

// answer is what one request came to: err, or a status with its headers.
type answer struct {
	request *http.Request
	payload []byte
	status  int
	header  http.Header
	body    []byte // only when it was asked for
	cut     bool   // the answer was longer than maxAnswer
	took    time.Duration
	timeout time.Duration
	err     error
}

// newSender returns a sender that resolves names with resolver (nil: the
// system's) and connects only where allow says yes.
func newSender(e Endpoint, resolver *net.Resolver, allow func(netip.Addr) bool, now func() time.Time) *sender {
	transport := transport(e, resolver, allow)
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &sender{endpoint: e, client: client, transport: transport, tokens: newTokens(e, transport), now: now}
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

// send makes one signed request with a document of the stream. The body of the
// answer is kept if keep says so.
func (s *sender) send(ctx context.Context, p parcel, keep bool) answer {
	ctx, cancel := context.WithTimeout(ctx, s.endpoint.Timeout)
	defer cancel()
	begun := s.now()
	p, err := p.opened(s.key)
	if err != nil {
		return answer{err: fmt.Errorf("%w: %w", errRender, err), timeout: s.endpoint.Timeout}
	}
	a := s.exchange(ctx, p, keep)
	a.took, a.timeout = s.now().Sub(begun), s.endpoint.Timeout
	return a
}

// payload is the body of a request for the event; its headers go into h.
func (e *Endpoint) payload(h http.Header, p parcel) ([]byte, error) {
	if e.body != nil {
		h["Content-Type"] = []string{jsonType}
		return e.body.render(p.of)
	}
	document, err := e.cutting.cut(p.document)
	if err != nil {
		return nil, err
	}
	payload, err := e.Format.render(h, marked(document, p.delivery))
	if err == nil && e.Format == PlainData {
		payload = marked(payload, p.delivery)
	}
	return payload, err
}

func (s *sender) exchange(ctx context.Context, p parcel, keep bool) answer {
	header := make(http.Header, len(s.endpoint.headers)+12)
	for k, v := range s.endpoint.headers {
		header[k] = v
	}
	payload, err := s.endpoint.payload(header, p)
	if err != nil {
		return answer{err: fmt.Errorf("event %s %w: %w", p.id, errRender, err)}
	}
	if p.delivery != usual {
		header[HeaderDelivery] = []string{string(p.delivery)}
	}
	if _, own := header[requestTraceparent]; p.trace != "" && !own {
		header[requestTraceparent] = []string{p.trace}
	}
	if s.endpoint.ContentType != "" {
		header["Content-Type"] = []string{s.endpoint.ContentType}
	}
	sign(header, s.endpoint.Secrets, p.id, s.now(), payload)
	header["User-Agent"] = []string{userAgent}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint.URL.String(), bytes.NewReader(payload))
	if err != nil {
		return answer{err: bare(err)}
	}
	refresh, err := s.tokens.authorize(header)
	if err != nil {
		return answer{err: err}
	}
	request.Header = header
	a := answer{request: request, payload: payload}
	response, err := s.client.Do(request)
	if err != nil {
		a.err = bare(err)
		return a
	}
	defer response.Body.Close()
	a.status, a.header = response.StatusCode, response.Header
	if a.status == http.StatusUnauthorized {
		refresh()
	}
	if keep {
		a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		a.cut = len(a.body) == maxAnswer
	} else {
		_, err = io.CopyN(io.Discard, response.Body, maxAnswer)
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	// The status decides; a body that breaks off does not undo it, but one that
	// never ends within the time does: the receiver may not be done.
	if err != nil && ctx.Err() != nil {
		a.err = ctx.Err()
	}
	return a
}
