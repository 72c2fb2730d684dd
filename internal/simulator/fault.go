package simulator

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind names a fault.
type FaultKind string

// The faults; FaultHelp describes them.
const (
	FaultLimit     FaultKind = "429"
	FaultServer    FaultKind = "5xx"
	FaultStall     FaultKind = "stall"
	FaultCut       FaultKind = "cut"
	FaultHTML      FaultKind = "html"
	FaultNext      FaultKind = "next"
	FaultDuplicate FaultKind = "dup"
	FaultDamaged   FaultKind = "damaged"
	FaultSkew      FaultKind = "skew"
	FaultRevoked   FaultKind = "revoked"
	FaultForbidden FaultKind = "forbidden"
	FaultGuest     FaultKind = "guest"
)

// faultKinds holds the kinds with the check of their argument and their help.
var faultKinds = []struct {
	kind FaultKind
	arg  func(*Fault, string) error // nil: takes none
	help string
}{
	{FaultLimit, seconds, "429 Too Many Requests, as if someone else used the key; =SECONDS is Retry-After (default: until the fault ends)"},
	{FaultServer, status, "a server error; =500, =502, =503 or =504 (default: in turn)"},
	{FaultStall, amount, "the answer comes late, with old data; =DURATION (default 60s)"},
	{FaultCut, nil, "the connection closes amid the body, with and without Content-Length"},
	{FaultHTML, nil, "an HTML page instead of JSON, with status 200 or 502"},
	{FaultNext, next, "a hostile links.next; =host, =same, =first, =endless or =URL (default: in turn)"},
	{FaultDuplicate, nil, "records repeated within a page and across pages"},
	{FaultDamaged, nil, "records without id or location, null, of wrong types"},
	{FaultSkew, amount, "the Date header is off; =DURATION, may be negative (default 90s)"},
	{FaultRevoked, nil, "401, as if the token had been revoked"},
	{FaultForbidden, nil, "403"},
	{FaultGuest, nil, "the look-up by IP names another guest: one that just got the address (of a session older than 5 s), one at another venue, or two at once"},
}

// Fault is one line of the script: what happens to which requests when. Times
// count from New, on the injected clock.
type Fault struct {
	Kind FaultKind
	// Amount of FaultStall and FaultSkew; of FaultLimit the Retry-After, where
	// negative means until the fault ends.
	Amount time.Duration
	Status int    // of FaultServer; 0 in turn
	Next   string // of FaultNext; empty in turn
	// At is when it begins, For how long it lasts (0: for good), Every after
	// what time it begins again (0: never).
	At, For, Every time.Duration
	// Percent of the requests that are struck; 0 is 100.
	Percent float64
	// Endpoint that is struck; empty is any.
	Endpoint Endpoint
}

// FaultHelp describes ParseFault's syntax and every kind, for a help text.
func FaultHelp() string {
	var b strings.Builder
	b.WriteString("KIND[=ARG][:FOR][@AT[+EVERY]][%PERCENT][/ENDPOINT], for example 429:30s@2m or 5xx%1/sessions.\n")
	b.WriteString("Without FOR the fault lasts, and strikes 5 % of the requests unless PERCENT says otherwise.\n")
	fmt.Fprintf(&b, "ENDPOINT is one of %v. KIND is one of\n", Endpoints())
	for _, k := range faultKinds {
		fmt.Fprintf(&b, "  %-10s %s\n", k.kind, k.help)
	}
	return b.String()
}

// ParseFault reads one fault: see FaultHelp.
func ParseFault(text string) (Fault, error) {
	f, err := parseFault(text)
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

// ParseFaults reads several; the error lists all that are wrong.
func ParseFaults(texts []string) ([]Fault, error) {
	var fs []Fault
	var errs []error
	for _, t := range texts {
		f, err := ParseFault(t)
		fs, errs = append(fs, f), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return fs, nil
}

func parseFault(text string) (f Fault, err error) {
	// A URL as argument may hold the separators, so it is put in <>.
	rest, arg, hasArg := text, "", false
	if before, after, ok := strings.Cut(text, "=<"); ok {
		u, tail, closed := strings.Cut(after, ">")
		if !closed {
			return f, errors.New("the argument's < has no >")
		}
		rest, arg, hasArg = before+tail, u, true
	}
	if head, endpoint, ok := strings.Cut(rest, "/"); ok {
		if rest, f.Endpoint = head, Endpoint(endpoint); !slices.Contains(Endpoints(), f.Endpoint) {
			return f, fmt.Errorf("there is no endpoint %q; use one of %v", endpoint, Endpoints())
		}
	}
	if head, percent, ok := strings.Cut(rest, "%"); ok {
		rest = head
		f.Percent, err = strconv.ParseFloat(percent, 64)
		if err != nil || !(f.Percent > 0 && f.Percent <= 100) {
			return f, fmt.Errorf("%q is no percentage; use a number above 0, up to 100", percent)
		}
	}
	if rest, err = f.setTimes(rest); err != nil {
		return f, err
	}
	if !hasArg {
		rest, arg, hasArg = strings.Cut(rest, "=")
	}
	f.Kind = FaultKind(rest)
	if f.For == 0 && f.Percent == 0 {
		f.Percent = 5
	}
	return f, f.setArg(arg, hasArg)
}

// setTimes reads when a fault begins and how long it lasts, and returns what stands
// before that.
func (f *Fault) setTimes(text string) (rest string, err error) {
	rest = text
	if head, at, ok := strings.Cut(rest, "@"); ok {
		rest = head
		at, every, again := strings.Cut(at, "+")
		if f.At, err = positive(at, "start"); err != nil {
			return rest, err
		}
		if again {
			if f.Every, err = positive(every, "repetition"); err != nil {
				return rest, err
			}
		}
	}
	if head, d, ok := strings.Cut(rest, ":"); ok {
		rest = head
		if f.For, err = positive(d, "length"); err != nil {
			return rest, err
		}
	}
	if f.Every > 0 && (f.For == 0 || f.For > f.Every) {
		return rest, fmt.Errorf("it begins again each %v; give it a shorter length, as in 429:10s@1m+5m", f.Every)
	}
	return rest, nil
}

func (f *Fault) setArg(arg string, has bool) error {
	for _, k := range faultKinds {
		if k.kind != f.Kind {
			continue
		}
		switch f.Kind {
		case FaultLimit:
			f.Amount = -1
		case FaultStall:
			f.Amount = time.Minute
		case FaultSkew:
			f.Amount = 90 * time.Second
		}
		switch {
		case !has:
			return nil
		case k.arg == nil:
			return fmt.Errorf("%s takes no argument; leave %q out", f.Kind, "="+arg)
		}
		return k.arg(f, arg)
	}
	names := make([]string, len(faultKinds))
	for i, k := range faultKinds {
		names[i] = string(k.kind)
	}
	return fmt.Errorf("unknown kind %q; use one of %s", f.Kind, strings.Join(names, ", "))
}

func positive(text, what string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d == 0 && what != "start" {
		return 0, fmt.Errorf("the %s %q is no duration; use one like 30s or 2m", what, text)
	}
	return d, nil
}

func amount(f *Fault, arg string) (err error) {
	f.Amount, err = time.ParseDuration(arg)
	if err != nil || f.Kind == FaultStall && f.Amount <= 0 {
		return fmt.Errorf("argument %q is no duration; use one like 10s", arg)
	}
	return nil
}

func seconds(f *Fault, arg string) error {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil {
		return fmt.Errorf("argument %q is no number of seconds; use one like 5, or 0", arg)
	}
	f.Amount = time.Duration(n) * time.Second
	return nil
}

func status(f *Fault, arg string) error {
	n, err := strconv.Atoi(arg)
	if err != nil || n < 500 || n > 599 {
		return fmt.Errorf("argument %q is no server error; use 500 to 599", arg)
	}
	f.Status = n
	return nil
}

var nextTricks = []string{"host", "same", "first", "endless"}

func next(f *Fault, arg string) error {
	u, err := url.Parse(arg)
	if !slices.Contains(nextTricks, arg) && (err != nil || u.Host == "") {
		return fmt.Errorf("argument %q is no trick; use one of %v, or a URL in <>", arg, nextTricks)
	}
	f.Next = arg
	return nil
}

// String writes f so that ParseFault reads it back.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(string(f.Kind))
	switch {
	case f.Kind == FaultLimit && f.Amount >= 0:
		fmt.Fprintf(&b, "=%d", f.Amount/time.Second)
	case f.Kind == FaultStall || f.Kind == FaultSkew:
		fmt.Fprintf(&b, "=%v", f.Amount)
	case f.Status != 0:
		fmt.Fprintf(&b, "=%d", f.Status)
	case f.Next != "":
		fmt.Fprintf(&b, "=<%s>", f.Next)
	}
	if f.For > 0 {
		fmt.Fprintf(&b, ":%v", f.For)
	}
	if f.At > 0 || f.Every > 0 {
		fmt.Fprintf(&b, "@%v", f.At)
	}
	if f.Every > 0 {
		fmt.Fprintf(&b, "+%v", f.Every)
	}
	if f.Percent > 0 {
		fmt.Fprintf(&b, "%%%v", f.Percent)
	} else if f.For == 0 {
		b.WriteString("%100")
	}
	if f.Endpoint != "" {
		fmt.Fprintf(&b, "/%s", f.Endpoint)
	}
	return b.String()
}

// strikes reports whether f, number i of the script, strikes request n at e, made
// the given time after New, and for how much longer the fault lasts.
func (f *Fault) strikes(seed uint64, i int, n uint64, e Endpoint, since time.Duration) (left time.Duration, ok bool) {
	if f.Endpoint != "" && f.Endpoint != e || since < f.At {
		return 0, false
	}
	since -= f.At
	if f.Every > 0 {
		since %= f.Every
	}
	if left = math.MaxInt64; f.For > 0 {
		left = f.For - since
	}
	if left <= 0 {
		return 0, false
	}
	return left, f.Percent == 0 || unit(hash(seed, 60, uint64(i), n))*100 < f.Percent
}
