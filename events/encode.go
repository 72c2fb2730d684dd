package events

import (
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"
)

// Encode returns e as a CloudEvents 1.0 structured JSON document, to be sent
// with ContentType. Observed.Rounding is filled from the errors of the session's
// byte figures; times are written in UTC; a zero Time, UnknownSeconds and
// UnknownBytes are left out, and so is the rounding of the latter. The same
// event always gives the same bytes.
//
// The error is a *FieldError that wraps ErrNotEvent: for an event that Decode
// would refuse (an empty id, account, session id or location id, an unknown
// kind, a revision below 1), for an identity that is not valid UTF-8, and for a
// time outside of the years 0 to 9999, which RFC 3339 cannot express.
func Encode(e Event) ([]byte, error) {
	b, err := Append(make([]byte, 0, 1536), &e)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Append appends to b what Encode returns; with an error, b is returned as it was.
func Append(b []byte, e *Event) ([]byte, error) {
	if err := e.refuse(); err != nil {
		return b, err
	}
	s := &e.Data.Session
	for _, f := range [...]struct{ field, value string }{
		{"id", e.ID}, {"source", e.Account}, {"data.session.id", s.ID}, {"data.session.location_id", s.LocationID},
	} {
		if !utf8.ValidString(f.value) {
			return b, &FieldError{Field: f.field, Reason: "is not valid UTF-8"}
		}
	}
	w := encoder{b: b}
	w.b = append(w.b, `{"specversion":"`+SpecVersion+`"`...)
	w.text("id", e.ID)
	w.text("source", SourcePrefix+url.PathEscape(e.Account))
	w.text("type", e.Kind.Type())
	w.text("subject", s.ID)
	w.optionalTime("time", "time", e.Time)
	w.text("datacontenttype", dataContentType)
	w.text("dataschema", e.Kind.SchemaID())
	w.open("data")
	w.data(&e.Data)
	w.b = append(w.b, '}', '}')
	if w.err != nil {
		return b, w.err
	}
	return w.b, nil
}

// encoder appends JSON members to b and keeps the first error. It exists since
// encoding every event is on the path of every poll, and is several times as
// fast as reflection.
type encoder struct {
	b   []byte
	err error
}

func (w *encoder) data(d *Data) {
	w.number("revision", d.Revision)
	if d.Episode != 0 {
		w.number("episode", d.Episode)
	}
	w.open("session")
	w.session(&d.Session)
	w.close()
	if g := d.Guest; g != nil {
		w.open("guest")
		w.optionalText("username", g.Username)
		w.optionalText("name", g.Name)
		w.optionalText("email", g.Email)
		w.close()
	}
	if d.Previous != nil {
		w.open("previous")
		w.previous(d.Previous)
		w.close()
	}
	if c := d.Change; c != nil {
		w.open("change")
		w.number("downloaded_bytes", c.DownloadedBytes)
		w.number("uploaded_bytes", c.UploadedBytes)
		w.optionalTrue("reset", c.Reset)
		w.close()
	}
	w.open("observed")
	w.time("at", "data.observed.at", d.Observed.At)
	w.optionalTime("not_yet_at", "data.observed.not_yet_at", d.Observed.NotYetAt)
	w.optionalText("end", string(d.Observed.End))
	w.optionalText("proof", string(d.Observed.Proof))
	w.open("rounding")
	w.optionalNumber("downloaded_bytes", d.Session.Downloaded.Error, d.Session.Downloaded.Known())
	w.optionalNumber("uploaded_bytes", d.Session.Uploaded.Error, d.Session.Uploaded.Known())
	w.close()
	w.optionalTrue("backfilled", d.Observed.Backfilled)
	w.optionalText("guest", string(d.Observed.Guest))
	w.close()
}

func (w *encoder) session(s *Session) {
	w.text("id", s.ID)
	for i, v := range s.attributes() {
		w.optionalText(attributeNames[i], *v)
	}
	w.key("online")
	w.b = strconv.AppendBool(w.b, s.Online)
	w.optionalTime("started_at", "data.session.started_at", s.StartedAt)
	w.optionalTime("ended_at", "data.session.ended_at", s.EndedAt)
	w.optionalNumber("duration_seconds", s.DurationSeconds, s.DurationSeconds != UnknownSeconds)
	w.optionalNumber("downloaded_bytes", s.Downloaded.Value, s.Downloaded.Known())
	w.optionalNumber("uploaded_bytes", s.Uploaded.Value, s.Uploaded.Known())
}

func (w *encoder) previous(p *Previous) {
	for i, v := range p.attributes() {
		if *v != nil {
			w.text(attributeNames[i], **v)
		}
	}
	if p.StartedAt != nil {
		w.time("started_at", "data.previous.started_at", *p.StartedAt)
	}
	for _, f := range [...]struct {
		name  string
		value *int64
	}{
		{"duration_seconds", p.DurationSeconds}, {"downloaded_bytes", p.DownloadedBytes}, {"uploaded_bytes", p.UploadedBytes},
	} {
		if f.value != nil {
			w.number(f.name, *f.value)
		}
	}
}

func (w *encoder) key(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

func (w *encoder) open(name string) {
	w.key(name)
	w.b = append(w.b, '{')
}

func (w *encoder) close() { w.b = append(w.b, '}') }

func (w *encoder) number(name string, n int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *encoder) optionalNumber(name string, n int64, known bool) {
	if known {
		w.number(name, n)
	}
}

func (w *encoder) optionalTrue(name string, v bool) {
	if v {
		w.key(name)
		w.b = append(w.b, "true"...)
	}
}

func (w *encoder) optionalText(name, v string) {
	if v != "" {
		w.text(name, v)
	}
}

func (w *encoder) text(name, v string) {
	w.key(name)
	w.b = appendQuoted(w.b, v)
}

func (w *encoder) optionalTime(name, field string, t time.Time) {
	if !t.IsZero() {
		w.time(name, field, t)
	}
}

// time takes the path of the field too, for the error.
func (w *encoder) time(name, field string, t time.Time) {
	t = t.UTC()
	if y := t.Year(); (y < 0 || y > 9999) && w.err == nil {
		w.err = &FieldError{Field: field, Reason: "is outside of the years 0 to 9999"}
	}
	w.key(name)
	w.b = append(w.b, '"')
	w.b = t.AppendFormat(w.b, time.RFC3339Nano)
	w.b = append(w.b, '"')
}

// appendQuoted appends s as a JSON string. Invalid UTF-8 becomes U+FFFD, as
// with encoding/json.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, "\uFFFD"...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
