package platform

import (
	"bytes"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/guestflow/guestflow/events"
)

func (c *Client) records(d *jsontext.Decoder, q Query, page *Page, at time.Time) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	page.Sessions = make([]events.Session, 0, MaxPerPage)
	room := readings.Get().(*[]reading)
	all := (*room)[:0]
	defer func() {
		clear(all)
		*room = all
		readings.Put(room)
	}()
	var shown separators
	for d.PeekKind() != ']' {
		page.Records++
		all = append(all, reading{})
		r := &all[len(all)-1]
		if d.PeekKind() != '{' {
			if err := d.SkipValue(); err != nil {
				return err
			}
			r.why = Skip{Field: "record", Reason: "not an object"}
			continue
		}
		if err := c.record(d, q, r, &shown, (*tally)(&page.Unread)); err != nil {
			return err
		}
		if err := checkID(r.session.ID); err != nil {
			r.why = Skip{Field: "id", Reason: "id " + err.Error()}
		} else if err := checkID(r.session.LocationID); err != nil {
			r.why = Skip{Field: "location_id", Reason: "location_id " + err.Error()}
		}
	}
	_, err := d.ReadToken()
	c.finish(page, all, shown, at)
	return err
}

// readings are those of pages that were read, to be used again.
var readings = sync.Pool{New: func() any { all := make([]reading, 0, MaxPerPage); return &all }}

// MaxPerPage is the documented maximum of records a request.
const MaxPerPage = 100

// defaultPerPage is the documented number of records where none is asked for.
const defaultPerPage = 10

// record reads one record by itself.
func (c *Client) record(d *jsontext.Decoder, q Query, r *reading, shown *separators, unread *tally) error {
	s := &r.session
	s.Downloaded, s.Uploaded, s.DurationSeconds = events.UnknownBytes, events.UnknownBytes, events.UnknownSeconds
	status, ip, mac := presence{}, "", ""
	err := object(d, func(name []byte) error {
		// The name is gone once the value is read.
		field := fieldOf(name)
		if field == unknownField {
			return d.SkipValue()
		}
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		switch field {
		case idField:
			s.ID = identity(v)
		case locationIDField:
			s.LocationID = c.intern.of(identity(v))
		case locationNameField:
			s.LocationName = c.intern.of(text(v))
		case guestIDField:
			s.GuestID = identity(v)
		case yasIDField:
			s.YasID = identity(v)
		case macField:
			mac = canonicalMAC(text(v))
			s.DeviceMAC = c.cfg.Privacy.apply(c.cfg.Privacy.MAC, mac)
		case ipField:
			ip = canonicalIP(text(v))
			s.DeviceIP = c.cfg.Privacy.apply(c.cfg.Privacy.IP, ip)
		case descriptionField:
			s.DeviceDescription = c.intern.of(text(v))
		case accessCodeField:
			s.AccessCode = text(v)
		case loginTypeField:
			s.LoginType = c.intern.of(text(v))
		case profileField:
			s.ServiceProfile = c.intern.of(text(v))
		case durationField:
			r.duration(v, unread)
		case downloadedField:
			s.Downloaded, r.doubtful[0] = c.amount(v, downloadedName, shown, unread)
		case uploadedField:
			s.Uploaded, r.doubtful[1] = c.amount(v, uploadedName, shown, unread)
		case startField:
			var err error
			if r.start, err = parseMoment(text(v)); err != nil {
				unread.add(startName, sampleOf(v), 1)
			} else if r.start.local {
				r.startText = sampleOf(v)
			}
		case endField:
			r.ended(v, unread)
		case statusField:
			status.said(v)
		case statusValueField:
			status.valued(v)
		}
		return nil
	})
	s.Online = status.online(q, r, unread)
	if f := c.cfg.Forget; f != nil && f(Identity{Session: s.ID, GuestID: s.GuestID, MAC: mac}, s) {
		return err
	}
	if c.cfg.Guests && s.Online && c.hidesIP() {
		c.addresses.set(s.ID, ip)
	}
	return err
}

// duration reads total_duration.
func (r *reading) duration(v jsontext.Value, unread *tally) {
	written := scalar(v)
	r.short, r.session.DurationSeconds = "", events.UnknownSeconds
	if n, err := ParseDuration(written); err == nil {
		r.session.DurationSeconds = n
	} else if _, _, ok := shortDuration(written); ok {
		r.short = written
	} else {
		unread.add(durationName, sampleOf(v), 1)
	}
}

// ended reads end_time.
func (r *reading) ended(v jsontext.Value, unread *tally) {
	r.end, r.endText = moment{}, ""
	none := v.Kind() == 'n' || v.Kind() == 'f' || v.Kind() == '"' && nullDate(text(v))
	if none {
		return
	}
	var err error
	if r.end, err = parseMoment(text(v)); err != nil {
		unread.add(endName, sampleOf(v), 1)
	} else if r.end.local {
		r.endText = sampleOf(v)
	}
}

// amount reads a figure, or returns the text of one that other figures decide.
func (c *Client) amount(v jsontext.Value, field string, shown *separators, unread *tally) (b events.Bytes, doubtful string) {
	known := separators{}
	written := scalar(v)
	if v.Kind() == '0' {
		known.point = true // JSON's own
	}
	b, found, open, err := parseFigure(written, c.cfg.ByteBase, known)
	switch {
	case v.Kind() == '0':
	case open:
		return events.UnknownBytes, written
	default:
		*shown = shown.and(found)
	}
	if err != nil {
		unread.add(field, sampleOf(v), 1)
	}
	return b, ""
}

type recordField int

const (
	unknownField recordField = iota
	idField
	locationIDField
	locationNameField
	guestIDField
	yasIDField
	macField
	ipField
	descriptionField
	accessCodeField
	loginTypeField
	profileField
	durationField
	downloadedField
	uploadedField
	startField
	endField
	statusField
	statusValueField
)

func fieldOf(name []byte) recordField {
	switch string(name) {
	case `"id"`:
		return idField
	case `"location_id"`:
		return locationIDField
	case `"location_name"`:
		return locationNameField
	case `"guest_id"`:
		return guestIDField
	case `"yas_id"`:
		return yasIDField
	case `"guest_device_mac"`:
		return macField
	case `"guest_device_ip"`:
		return ipField
	case `"guest_device_description"`:
		return descriptionField
	case `"access_code"`:
		return accessCodeField
	case `"login_type_name"`:
		return loginTypeField
	case `"service_profile_name"`:
		return profileField
	case `"total_duration"`:
		return durationField
	case `"downloaded_data"`:
		return downloadedField
	case `"uploaded_data"`:
		return uploadedField
	case `"start_time"`:
		return startField
	case `"end_time"`:
		return endField
	case `"connection_status"`:
		return statusField
	case `"connection_status_value"`:
		return statusValueField
	}
	return unknownField
}

// longestText is how many bytes of a text are kept: the texts of one event must
// stay far below what a message may hold.
const longestText = 1024

// text returns a string value, and nothing of any other type.
func text(v jsontext.Value) string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return clip(strings.TrimSpace(string(inner)), longestText)
	}
	// An error is about invalid UTF-8, which has become U+FFFD.
	unquoted, _ := jsontext.AppendUnquote(nil, v)
	return clip(strings.TrimSpace(strings.ToValidUTF8(string(unquoted), "\uFFFD")), longestText)
}

// identity returns an id: a string, or a whole number as its decimal text.
func identity(v jsontext.Value) string {
	if s := text(v); s != "" {
		return s
	}
	if len(v) == 0 || v[0] == '"' {
		return ""
	}
	for i, c := range v {
		if (c < '0' || c > '9') && (c != '-' || i > 0) {
			return ""
		}
	}
	return string(v)
}

// scalar returns a string's text or a number's.
func scalar(v jsontext.Value) string {
	if len(v) > 0 && v[0] >= '0' && v[0] <= '9' {
		return string(v)
	}
	return text(v)
}

// interner keeps one copy of texts that many records share. It is bounded: texts
// beyond mostTexts, or longer than longestKept, are not kept.
type interner struct {
	mu    sync.Mutex
	texts map[string]string
}

const (
	mostTexts   = 10_000
	longestKept = 256
)

func (n *interner) of(s string) string {
	if s == "" || len(s) > longestKept {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if kept, ok := n.texts[s]; ok {
		return kept
	}
	if n.texts == nil {
		n.texts = make(map[string]string)
	}
	if len(n.texts) < mostTexts {
		n.texts[s] = s
	}
	return s
}
