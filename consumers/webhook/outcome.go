package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/guestflow/guestflow/internal/outbound"
)

// Result says what one try came to. It is a label of metrics.
type Result string

const (
	Delivered Result = "delivered" // 2xx
	Failed    Result = "failed"    // will be tried again
	Dead      Result = "dead"      // went to the dead letters
	Gone      Result = "gone"      // 410: the endpoint was disabled
	Skipped   Result = "skipped"   // too old for the endpoint: nothing was sent
)

// verdict is what an answer means for the event.
type verdict int

const (
	accepted verdict = iota
	passing          // worth trying for hours
	refused          // the receiver will hardly change its mind: a few tries
	gone             // the receiver wants nothing more, ever
)

// judge reads an answer. The reason is for people and holds no URL, since a URL
// may hold a token.
func judge(a answer) (verdict, string) {
	if a.err != nil {
		reason := "request failed: " + a.err.Error()
		if errors.Is(a.err, context.DeadlineExceeded) || isTimeout(a.err) {
			reason = fmt.Sprintf("no complete answer within %s", a.timeout)
		}
		if remedy := outbound.Remedy(a.err, fieldNames); remedy != "" {
			reason += "; " + remedy
		}
		if errors.Is(a.err, ErrPrivateAddress) || errors.Is(a.err, errRender) {
			return refused, reason
		}
		return passing, reason
	}
	reason := fmt.Sprintf("status %d %s", a.status, http.StatusText(a.status))
	switch s := a.status; {
	case s >= 200 && s < 300:
		return accepted, reason
	case s == http.StatusGone:
		return gone, reason
	case s >= 300 && s < 400:
		return refused, reason + ": redirects are not followed; put the final URL into the file"
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests:
		return passing, reason
	case s >= 400 && s < 500:
		return refused, reason
	}
	return passing, reason
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// bare removes the *url.Error around err, whose text holds the whole URL.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// retryAfter reads the header in both of its forms, seconds or a date, and
// returns at most most; zero when it is absent or makes no sense. A date is on the
// receiver's clock, which the answer's own Date tells; now stands in for one that
// is missing.
func retryAfter(h http.Header, now time.Time, most time.Duration) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	var d time.Duration
	if n, err := strconv.ParseUint(text, 10, 63); err == nil {
		if n > uint64(most/time.Second) {
			return most
		}
		d = time.Duration(n) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return most
	} else if at, err := http.ParseTime(text); err == nil {
		if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
			now = theirs
		}
		d = at.Sub(now)
	}
	return max(0, min(d, most))
}
