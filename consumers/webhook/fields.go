package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// cutting says what of a JSON object is left out: a member as a whole where its value is
// nil, else parts of it.
type cutting map[string]cutting

// leave adds a path to what is left out.
func (c cutting) leave(path []string) {
	if len(path) == 1 {
		c[path[0]] = nil
		return
	}
	part, known := c[path[0]]
	if known && part == nil {
		return // all of it is left out
	}
	if part == nil {
		part = cutting{}
		c[path[0]] = part
	}
	part.leave(path[1:])
}

// cut returns the object without what is left out, and the rest in its order, value for
// value. An object that has none of it comes back as it is. What is no object is an
// error.
func (c cutting) cut(object []byte) ([]byte, error) {
	if len(c) == 0 {
		return object, nil
	}
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), err)
	}
	out, changed := append(make([]byte, 0, len(object)), '{'), false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		part, named := c[name.(string)]
		if named && part == nil {
			changed = true
			continue
		}
		if named && len(value) > 0 && value[0] == '{' {
			less, err := part.cut(value)
			if err != nil {
				return nil, err
			}
			changed = changed || len(less) != len(value)
			value = less
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, quoted...), ':'), value...)
	}
	if !changed {
		return object, nil
	}
	return append(out, '}'), nil
}

// personal are the fields that an endpoint gets only where its entry asks for them.
const personal = "guest"

// selection is which fields of a topic's events an endpoint gets.
type selection struct {
	known []string
	drop  map[string]bool
}

func isPersonal(path string) bool { return path == personal || strings.HasPrefix(path, personal+".") }

// newSelection has all fields but the personal ones.
func newSelection(t *topic) selection {
	s := selection{t.paths(), map[string]bool{}}
	for _, path := range s.known {
		if isPersonal(path) {
			s.drop[path] = true
		}
	}
	return s
}

// under are the fields of a path: itself, or those of an object.
func (s selection) under(path string) (fields []string) {
	for _, k := range s.known {
		if k == path || strings.HasPrefix(k, path+".") {
			fields = append(fields, k)
		}
	}
	return fields
}

// take reads one word of the entry.
func (s selection) take(text string) error {
	path, minus := strings.CutPrefix(text, "-")
	fields := s.under(path)
	switch {
	case len(fields) == 0:
		return fmt.Errorf("no field %q%s", path, handwritten.DidYouMean(path, s.known))
	case !minus && !isPersonal(path):
		return fmt.Errorf("%s is in every event: only the fields of guest need to be asked for; write -%s to leave it out", path, path)
	}
	if name, of := strings.CutPrefix(path, "session."); of { // the former value tells as much
		fields = append(fields, s.under("previous."+name)...)
	}
	for _, field := range fields {
		s.drop[field] = minus
	}
	return nil
}

func (s selection) cutting() cutting {
	c := cutting{}
	for path, drop := range s.drop {
		if drop {
			c.leave(append([]string{"data"}, strings.Split(path, ".")...))
		}
	}
	if of := s.under(personal); len(of) > 0 && !slices.ContainsFunc(of, func(path string) bool { return !s.drop[path] }) {
		c["data"][personal] = nil // not an empty object
	}
	return c
}

// fieldsOf reads which fields of an event the endpoint gets: all but personal ones, with
// those that are named, and without those that are named with a minus before.
func (l *loader) fieldsOf(t *topic, texts []string) (cutting, error) {
	s := newSelection(t)
	for _, text := range texts {
		if err := s.take(text); err != nil {
			return nil, err
		}
		if err := l.absent.refusePaths([]string{text}); err != nil { // one with a minus is no path
			return nil, err
		}
	}
	c := s.cutting()
	return c, t.stillEvents(c)
}

// namesNobody reports whether the endpoint is chosen by who comes, and is not told.
func (e *Endpoint) namesNobody() bool {
	return e.body == nil && slices.ContainsFunc(usesOf(e.Condition).paths, isPersonal) && !slices.ContainsFunc(e.Fields, isPersonal)
}

// stillEvents reports what makes the rest of an event none.
func (t *topic) stillEvents(c cutting) error {
	for _, kind := range t.kinds {
		document, err := t.encode(t.sample(kind, sampledAt))
		if err == nil {
			document, err = c.cut(document)
		}
		if err == nil {
			_, err = t.decode(document)
		}
		if err != nil {
			return fmt.Errorf("what is left is no event: %w; leave out fewer fields, or write the body by hand with body", err)
		}
	}
	return nil
}

// sampledAt is a time like any other.
var sampledAt = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// paths are the fields of an event's data, as expressions name them.
func (t *topic) paths() (paths []string) {
	var add func(prefix string, of reflect.Type)
	add = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			name := prefix + of.Field(i).Tag.Get("expr")
			if slices.Contains([]string{"id", "account", "kind", "time"}, name) {
				continue // of the envelope
			}
			if typ := of.Field(i).Type; typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]() {
				add(name+".", typ)
				continue
			}
			paths = append(paths, name)
		}
	}
	add("", reflect.TypeOf(t.env))
	return paths
}
