package events

import (
	"bytes"
	"net/url"
	"time"
	"unicode/utf8"
)

// Decode reads a CloudEvents 1.0 structured JSON document as Encode writes it.
// It is strict on what identity and order rest on (specversion, id, source,
// type, subject, session id, location id, revision), on rounding errors, which
// cannot be negative, and on the types of the fields that it knows; it skips fields and extension attributes that it does
// not know, and reads null as absent: a figure without a value is UnknownBytes, a
// duration UnknownSeconds. Times come out in UTC, and the session's
// byte figures with their rounding errors. Nothing of the Event points into
// body.
//
// The error is a *FieldError, which names the field and wraps ErrNotEvent.
func Decode(body []byte) (Event, error) {
	if !utf8.Valid(body) {
		return Event{}, &FieldError{Reason: "the document is not valid UTF-8"}
	}
	var e Event
	v, r := &e.Data.Session, &e.Data.Observed.Rounding
	v.DurationSeconds, v.Downloaded, v.Uploaded = UnknownSeconds, UnknownBytes, UnknownBytes
	s := scanner{in: body}
	s.document(&e)
	if s.err != nil {
		return Event{}, s.err
	}
	for _, f := range [...]struct {
		field    string
		figure   *Bytes
		rounding *int64
	}{
		{"data.observed.rounding.downloaded_bytes", &v.Downloaded, &r.DownloadedBytes}, {"data.observed.rounding.uploaded_bytes", &v.Uploaded, &r.UploadedBytes},
	} {
		if *f.rounding < 0 {
			return Event{}, &FieldError{Field: f.field, Reason: "is negative"}
		}
		if f.figure.Known() {
			f.figure.Error = *f.rounding
		} else {
			*f.rounding = UnknownBytes.Error
		}
	}
	if err := e.refuse(); err != nil {
		return Event{}, err
	}
	return e, nil
}

func (s *scanner) document(e *Event) {
	if s.peek() != '{' {
		s.fail("the document is not a JSON object")
		return
	}
	var version, source, typ, subject []byte
	s.enter()
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		switch n {
		case nameSpecVersion:
			version = s.raw()
		case nameID:
			e.ID = s.text()
		case nameSource:
			source = s.raw()
		case nameType:
			typ = s.raw()
		case nameSubject:
			subject = s.raw()
		case nameTime:
			e.Time = s.time()
		case nameData:
			s.data(&e.Data)
		default:
			s.skip(0)
		}
	}
	if s.peek(); s.err == nil && s.at < len(s.in) {
		s.fail("the document is followed by more")
	}
	if s.err == nil {
		s.err = e.identify(version, source, typ, subject)
	}
}

// identify fills in what the context attributes say.
func (e *Event) identify(version, source, typ, subject []byte) *FieldError {
	if string(version) != SpecVersion {
		return &FieldError{Field: "specversion", Reason: "is not " + SpecVersion}
	}
	path, ok := bytes.CutPrefix(source, []byte(SourcePrefix))
	if !ok {
		return &FieldError{Field: "source", Reason: "does not begin with " + SourcePrefix}
	}
	account, err := url.PathUnescape(string(path))
	if err != nil || !utf8.ValidString(account) {
		return &FieldError{Field: "source", Reason: "has a bad percent-escape", Err: err}
	}
	e.Account = account
	kind, wrong := kindOf(typ)
	if wrong != "" {
		return &FieldError{Field: "type", Reason: wrong}
	}
	e.Kind = kind
	if id := e.Data.Session.ID; id != "" && string(subject) != id {
		return &FieldError{Field: "subject", Reason: "is not data.session.id"}
	}
	return nil
}

func (s *scanner) data(d *Data) {
	if !s.enter() {
		return
	}
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		switch n {
		case nameRevision:
			d.Revision = s.number()
		case nameEpisode:
			d.Episode = s.number()
		case nameSession:
			s.session(&d.Session)
		case nameGuest:
			d.Guest = s.guest()
		case namePrevious:
			d.Previous = s.previous()
		case nameChange:
			d.Change = s.change()
		case nameObserved:
			s.observed(&d.Observed)
		default:
			s.skip(0)
		}
	}
}

func (s *scanner) session(v *Session) {
	if !s.enter() {
		return
	}
	attributes := v.attributes()
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		switch n {
		case nameID:
			v.ID = s.text()
		case nameOnline:
			v.Online = s.boolean()
		case nameStartedAt:
			v.StartedAt = s.time()
		case nameEndedAt:
			v.EndedAt = s.time()
		case nameDurationSeconds:
			if !s.null() {
				v.DurationSeconds = s.number()
			}
		case nameDownloadedBytes:
			if !s.null() {
				v.Downloaded = Bytes{Value: s.number()}
			}
		case nameUploadedBytes:
			if !s.null() {
				v.Uploaded = Bytes{Value: s.number()}
			}
		default:
			if i, ok := n.attribute(); ok {
				*attributes[i] = s.text()
			} else {
				s.skip(0)
			}
		}
	}
}

func (s *scanner) guest() *Guest {
	if !s.enter() {
		return nil
	}
	g := new(Guest)
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		switch n {
		case nameUsername:
			g.Username = s.text()
		case nameName:
			g.Name = s.text()
		case nameEmail:
			g.Email = s.text()
		default:
			s.skip(0)
		}
	}
	return g
}

func (s *scanner) previous() *Previous {
	if !s.enter() {
		return nil
	}
	p := new(Previous)
	attributes := p.attributes()
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		if s.null() {
			continue
		}
		switch n {
		case nameStartedAt:
			p.StartedAt = new(time.Time)
			*p.StartedAt = s.time()
		case nameDurationSeconds:
			p.DurationSeconds = new(int64)
			*p.DurationSeconds = s.number()
		case nameDownloadedBytes:
			p.DownloadedBytes = new(int64)
			*p.DownloadedBytes = s.number()
		case nameUploadedBytes:
			p.UploadedBytes = new(int64)
			*p.UploadedBytes = s.number()
		default:
			if i, ok := n.attribute(); ok {
				*attributes[i] = new(string)
				**attributes[i] = s.text()
			} else {
				s.skip(0)
			}
		}
	}
	return p
}

func (s *scanner) change() *Change {
	if !s.enter() {
		return nil
	}
	c := new(Change)
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		switch n {
		case nameDownloadedBytes:
			c.DownloadedBytes = s.number()
		case nameUploadedBytes:
			c.UploadedBytes = s.number()
		case nameReset:
			c.Reset = s.boolean()
		default:
			s.skip(0)
		}
	}
	return c
}

func (s *scanner) observed(o *Observed) {
	if !s.enter() {
		return
	}
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		switch n {
		case nameAt:
			o.At = s.time()
		case nameNotYetAt:
			o.NotYetAt = s.time()
		case nameEnd:
			o.End = s.end()
		case nameProof:
			o.Proof = s.proof()
		case nameRounding:
			s.rounding(&o.Rounding)
		case nameBackfilled:
			o.Backfilled = s.boolean()
		case nameGuest:
			o.Guest = s.sureness()
		default:
			s.skip(0)
		}
	}
}

func (s *scanner) end() End {
	switch text := s.raw(); End(text) {
	case EndReported:
		return EndReported
	case EndInferred:
		return EndInferred
	case EndPresumed:
		return EndPresumed
	default:
		return End(text)
	}
}

func (s *scanner) proof() Proof {
	switch text := s.raw(); Proof(text) {
	case ProofRecord:
		return ProofRecord
	case ProofList:
		return ProofList
	case ProofAddress:
		return ProofAddress
	default:
		return Proof(text)
	}
}

func (s *scanner) sureness() Sureness {
	switch text := s.raw(); Sureness(text) {
	case GuestConfirmed:
		return GuestConfirmed
	default:
		return Sureness(text)
	}
}

func (s *scanner) rounding(r *Rounding) {
	if !s.enter() {
		return
	}
	var m members
	for n, ok := s.next(&m); ok; n, ok = s.next(&m) {
		switch n {
		case nameDownloadedBytes:
			r.DownloadedBytes = s.number()
		case nameUploadedBytes:
			r.UploadedBytes = s.number()
		default:
			s.skip(0)
		}
	}
}
