package platform

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// DecodePage reads the body of a page of sessions that q asked for. Every
// record's fields are read by themselves, so that one of the wrong type costs
// that field alone.
func (c *Client) DecodePage(body []byte, q Query) (Page, error) {
	return c.decodePage(body, q, time.Time{})
}

// decodePage is DecodePage for an answer with a Date, which some values are read by.
func (c *Client) decodePage(body []byte, q Query, at time.Time) (Page, error) {
	page := Page{}
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	hasData, hasNext := false, false
	err := object(d, func(name []byte) error {
		switch string(name) {
		case `"links"`:
			return c.links(d, q, &page, &hasNext)
		case `"meta"`:
			return meta(d, &page)
		case `"data"`:
			if hasData {
				return errors.New("two lists named data")
			}
			if d.PeekKind() != '[' {
				return errors.New("data is not a list")
			}
			hasData = true
			return c.records(d, q, &page, at)
		}
		return d.SkipValue()
	})
	if err != nil {
		return page, fmt.Errorf("not the JSON object that is documented: %w", err)
	}
	if !hasData {
		return page, errors.New("no list named data")
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return page, errors.New("not the JSON object that is documented: more follows behind it")
	}
	if !hasNext {
		full := cmp.Or(page.PerPage, max(0, min(q.PerPage, MaxPerPage)), defaultPerPage)
		page.More = page.Records > 0 && page.Records >= full
	}
	return page, nil
}

// links reads the envelope's links. Only next matters: whether there is more, and
// whether it leads where it should. told is set where the platform says either.
func (c *Client) links(d *jsontext.Decoder, q Query, page *Page, told *bool) error {
	if d.PeekKind() != '{' {
		return d.SkipValue()
	}
	return object(d, func(name []byte) error {
		if string(name) != `"next"` {
			return d.SkipValue()
		}
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		*told = true
		page.More, page.Suspicious = true, ""
		next := text(v)
		switch {
		case next != "":
			page.Suspicious = c.suspicious(c.scrub(next), max(1, q.Page))
		case v.Kind() == '"' || v.Kind() == 'n' || v.Kind() == 'f':
			page.More = false
		default:
			// Not an end: what stands on further pages would count as gone.
			page.Suspicious = "the next link is not a text"
		}
		return nil
	})
}

// suspicious says what is wrong with a next link, or nothing. The documentation's
// own example has a placeholder for the host, which is let pass.
func (c *Client) suspicious(next string, page int) string {
	u, err := url.Parse(strings.ReplaceAll(next, "[[BaseUrl]]", ""))
	if err != nil {
		return "the link cannot be read"
	}
	scheme := cmp.Or(u.Scheme, c.base.Scheme)
	if u.Host != "" && !strings.EqualFold(u.Hostname(), c.base.Hostname()) {
		return fmt.Sprintf("it leads to host %q", clipped(u.Host))
	}
	if scheme != c.base.Scheme {
		return fmt.Sprintf("it leads to scheme %q", clipped(scheme))
	}
	if to, asked := port(u, scheme), port(c.base, scheme); u.Host != "" && to != asked {
		return fmt.Sprintf("it leads to port %s of host %q, which is asked at port %s", clipped(to), clipped(u.Hostname()), asked)
	}
	if n := u.Query().Get("page"); n != "" && n != strconv.Itoa(page+1) {
		return fmt.Sprintf("page %d is followed by page %q", page, clipped(n))
	}
	return ""
}

func port(u *url.URL, scheme string) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[scheme]
}

func meta(d *jsontext.Decoder, page *Page) error {
	if d.PeekKind() != '{' {
		return d.SkipValue()
	}
	return object(d, func(name []byte) error {
		var to *int
		switch string(name) {
		case `"per_page"`:
			to = &page.PerPage
		case `"current_page"`:
			to = &page.Number
		}
		v, err := d.ReadValue()
		if err != nil || to == nil {
			return err
		}
		if n, err := strconv.Atoi(scalar(v)); err == nil && n > 0 {
			*to = n
		}
		return nil
	})
}

// object reads an object, calling field behind each name; field must read the
// value.
func object(d *jsontext.Decoder, field func(name []byte) error) error {
	t, err := d.ReadToken()
	if err != nil {
		return cut(err)
	}
	if t.Kind() != '{' {
		return fmt.Errorf("found %s, want an object", t.Kind())
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return cut(err)
		}
		if err := field(name); err != nil {
			return cut(err)
		}
	}
	_, err = d.ReadToken()
	return cut(err)
}

// cut names the commonest damage.
func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("it ends in the middle")
	}
	return err
}
