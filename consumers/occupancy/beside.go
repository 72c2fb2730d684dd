package occupancy

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
)

// ErrUnknown is what Webhooks and Stories return, wrapped, for what there is not.
var ErrUnknown = errors.New("not known here")

// Webhooks tells how the endpoints of webhooks fare. It is called on the goroutine of a
// request.
type Webhooks interface {
	// Endpoints returns them all.
	Endpoints(ctx context.Context) ([]Endpoint, error)
	// DeadLetters returns those of one endpoint, oldest first and at most so many.
	DeadLetters(ctx context.Context, endpoint string, most int) ([]DeadLetter, error)
	// Redeliver sends one dead letter again, or all of the endpoint where sequence is 0.
	// What is taken is no dead letter any more.
	Redeliver(ctx context.Context, endpoint string, sequence uint64) (delivered, failed int, err error)
}

// Endpoint is how one endpoint of webhooks fares.
type Endpoint struct {
	Name string `json:"name"`
	Host string `json:"host"`
	// Stream is what it gets: "sessions", "visits" and so on.
	Stream string `json:"stream"`
	// State in a word or two, as in `guestflow webhooks status`; Well is false where somebody
	// should look.
	State string `json:"state"`
	Well  bool   `json:"well"`
	// Waiting counts the events that it has not taken yet, the oldest of which was stored at
	// OldestWaiting.
	Waiting       uint64    `json:"waiting"`
	OldestWaiting time.Time `json:"oldest_waiting,omitzero"`
	Delivered     uint64    `json:"delivered"`
	LastSuccess   time.Time `json:"last_success,omitzero"`
	// Failures counts the tries in a row that failed; LastError is that of LastFailure.
	Failures    int       `json:"failures"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	DeadLetters uint64    `json:"dead_letters"`
}

// DeadLetter is an event that an endpoint never took, without what the event says.
type DeadLetter struct {
	Sequence uint64 `json:"sequence"`
	EventID  string `json:"event_id,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Location string `json:"location_id,omitempty"`
	// Session is empty where the event is of no session.
	Session string    `json:"session_id,omitempty"`
	DiedAt  time.Time `json:"died_at"`
	Tries   int       `json:"tries"`
	Status  int       `json:"status,omitempty"` // of the last answer
	Reason  string    `json:"reason"`
}

// Stories tells all about one session. It is called on the goroutine of a request.
type Stories interface {
	// Story returns one story for each account that has such a session; of one account
	// where that is not empty, and from what was stored since a time on. Each event is
	// told as hide returns it, and not at all where that reports false.
	Story(ctx context.Context, account, session string, since time.Time, hide func(events.Event) (events.Event, bool)) ([]Story, error)
}

// Story is the life of one session.
type Story struct {
	Account   string    `json:"account"`
	SessionID string    `json:"session_id"`
	Events    []Chapter `json:"events"`
}

// Chapter is one event of a session, in words.
type Chapter struct {
	Sequence uint64    `json:"sequence"` // in the stream
	StoredAt time.Time `json:"stored_at"`
	Revision int64     `json:"revision"`
	Kind     string    `json:"kind"`
	Location string    `json:"location_id"`
	// MissingBefore counts events before this one that are not in the stream any more.
	MissingBefore int64 `json:"missing_before,omitempty"`
	// Text says what happened, Known how and how surely that is known, Webhooks what became
	// of it at each endpoint.
	Text     string   `json:"text"`
	Known    []string `json:"known"`
	Webhooks []string `json:"webhooks,omitempty"`
}

// parts are what a request is told beside who is where. Endpoints get events of all
// locations, so a group's token does not show them.
func (s *Service) parts(x access) []string {
	parts := []string{}
	for _, part := range []struct {
		name  string
		there bool
	}{
		{"visits", s.settings.Visits != "" && s.visitsKnown()}, {"alerts", s.settings.Alerts != nil},
		{"webhooks", s.settings.Webhooks != nil && x.grant == nil}, {"stories", s.settings.Stories != nil},
	} {
		if part.there {
			parts = append(parts, part.name)
		}
	}
	return parts
}

// raised is an alert as it stands in an answer.
type raised struct {
	Account string `json:"account"`
	alerts.Alert
}

func (a *api) alerts(w http.ResponseWriter, r *http.Request, x access) {
	if a.s.settings.Alerts == nil {
		refuse(w, http.StatusNotFound, "No alerts are raised here; GUESTFLOW_ALERTS_FILE names a file of rules.")
		return
	}
	x, ok := narrowed(w, r, x)
	if !ok {
		return
	}
	all := struct {
		Alerts []raised `json:"alerts"`
	}{[]raised{}}
	for _, e := range a.s.settings.Alerts() {
		if x.sees(Place{e.Account, e.Data.Alert.LocationID}) {
			all.Alerts = append(all.Alerts, raised{e.Account, e.Data.Alert})
		}
	}
	answer(w, r, all)
}

// asking bounds how long NATS is asked for an answer.
const asking = 5 * time.Second

// sending bounds how long a request waits for what it has sent again, and how long a
// session's story is looked for: less than the server's time for an answer.
const sending = 45 * time.Second

// hooks are the webhooks, where there are any that may be seen; else it has answered.
func (a *api) hooks(w http.ResponseWriter, x access) Webhooks {
	if a.s.settings.Webhooks == nil || x.grant != nil {
		refuse(w, http.StatusNotFound, "No webhooks are sent here; GUESTFLOW_WEBHOOKS_FILE names an endpoints file.")
		return nil
	}
	return a.s.settings.Webhooks
}

func (a *api) webhooks(w http.ResponseWriter, r *http.Request, x access) {
	hooks := a.hooks(w, x)
	if hooks == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), asking)
	defer cancel()
	list, err := hooks.Endpoints(ctx)
	if failed(w, err) {
		return
	}
	answer(w, r, struct {
		Endpoints []Endpoint `json:"endpoints"`
	}{append([]Endpoint{}, list...)})
}

func (a *api) deadLetters(w http.ResponseWriter, r *http.Request, x access) {
	hooks := a.hooks(w, x)
	if hooks == nil {
		return
	}
	limit, ok := count(w, r, "limit", 50, 1000)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), asking)
	defer cancel()
	list, err := hooks.DeadLetters(ctx, r.PathValue("name"), max(limit, 1))
	if failed(w, err) {
		return
	}
	answer(w, r, struct {
		DeadLetters []DeadLetter `json:"dead_letters"`
	}{append([]DeadLetter{}, list...)})
}

// failed answers for an error.
func failed(w http.ResponseWriter, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, ErrUnknown):
		refuse(w, http.StatusNotFound, err.Error())
	default:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, err.Error())
	}
	return true
}

// crossOrigin tells requests that a page of another site has a browser send.
var crossOrigin = http.NewCrossOriginProtection()

// mayChange reports whether a request may change what the process does: with the token
// or, where there is none, from this machine.
func (a *api) mayChange(r *http.Request, x access) bool {
	switch {
	case x.grant != nil:
		return false
	case a.s.settings.Token != "":
		return x.clear
	}
	return FromHere(r)
}

// FromHere reports whether a request comes from this machine, and means it: a page of
// another site that has its name resolved to 127.0.0.1 does not bear that address as its
// host.
func FromHere(r *http.Request) bool { return here(r.RemoteAddr) && here(r.Host) }

// here reports whether host:port is an address of this machine itself.
func here(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr // without a port
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (a *api) redeliver(w http.ResponseWriter, r *http.Request, x access) {
	hooks := a.hooks(w, x)
	if hooks == nil {
		return
	}
	if err := crossOrigin.Check(r); err != nil || !a.mayChange(r, x) {
		refuse(w, http.StatusForbidden, "Dead letters are sent again with GUESTFLOW_OCCUPANCY_TOKEN where it is set, else from this machine alone (http://127.0.0.1), and for no other site's page.")
		return
	}
	var wish struct {
		Sequence uint64 `json:"sequence"`
		All      bool   `json:"all"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024)).Decode(&wish); err != nil || (wish.Sequence == 0) != wish.All {
		refuse(w, http.StatusBadRequest, `The body says which: {"sequence": 7}, or {"all": true}.`)
		return
	}
	if !a.admitLong(w) {
		return
	}
	defer a.done()
	ctx, cancel := context.WithTimeout(r.Context(), sending)
	defer cancel()
	name := r.PathValue("name")
	delivered, undelivered, err := hooks.Redeliver(ctx, name, wish.Sequence)
	if err != nil && delivered+undelivered == 0 && failed(w, err) {
		return
	}
	a.s.settings.Log.Info("occupancy: dead letters were sent again", "endpoint", name, "delivered", delivered, "failed", undelivered, "by", "HTTP")
	report := struct {
		Delivered int    `json:"delivered"`
		Failed    int    `json:"failed"`
		Error     string `json:"error,omitempty"`
	}{delivered, undelivered, ""}
	if err != nil {
		report.Error = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(report) // the client is gone
}

// admitLong lets few requests at a time do what takes long; the others are told to come
// back.
func (a *api) admitLong(w http.ResponseWriter) bool {
	select {
	case a.s.asked <- struct{}{}:
		return true
	default:
		w.Header().Set("Retry-After", "2")
		refuse(w, http.StatusServiceUnavailable, "Others are being answered; ask again in a moment.")
		return false
	}
}

func (a *api) done() { <-a.s.asked }

func (a *api) story(w http.ResponseWriter, r *http.Request, x access) {
	if a.s.settings.Stories == nil {
		refuse(w, http.StatusNotFound, "This process tells no stories.")
		return
	}
	var since time.Time
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			refuse(w, http.StatusBadRequest, "since is "+strconv.Quote(text)+": want a time as in 2026-01-31T08:00:00Z.")
			return
		}
	}
	if !a.admitLong(w) {
		return
	}
	defer a.done()
	ctx, cancel := context.WithTimeout(r.Context(), sending)
	defer cancel()
	hide := func(e events.Event) (events.Event, bool) {
		a.s.settings.Forgotten.Cleanse(&e)
		if p := e.Data.Previous; p != nil && p.LocationID != nil && !x.sees(Place{e.Account, *p.LocationID}) {
			e = withoutOrigin(e)
		}
		if !x.clear {
			e = Masked(e)
		}
		return e, x.sees(Place{e.Account, e.Data.Session.LocationID})
	}
	list, err := a.s.settings.Stories.Story(ctx, r.URL.Query().Get("account"), r.PathValue("id"), since, hide)
	if failed(w, err) {
		return
	}
	if x.grant != nil { // it does not show the webhooks
		for _, s := range list {
			for i := range s.Events {
				s.Events[i].Webhooks = nil
			}
		}
	}
	answer(w, r, struct {
		Stories []Story `json:"stories"`
		Masked  bool    `json:"masked"`
	}{list, !x.clear})
}
