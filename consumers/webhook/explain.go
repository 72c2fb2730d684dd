package webhook

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// object is a part of an event as a condition sees it.
type object struct {
	path   string // empty for the event itself
	fields []string
}

// objects are the objects of a condition by the name of their Go type, which
// must not reach a reader.
var objects = func() map[string]object {
	out := map[string]object{}
	var add func(path string, of reflect.Type)
	add = func(path string, of reflect.Type) {
		o := object{path: path}
		for i := range of.NumField() {
			name := of.Field(i).Tag.Get("expr")
			if name == "" {
				continue
			}
			o.fields = append(o.fields, name)
			if typ := of.Field(i).Type; typ.Kind() == reflect.Struct {
				add(strings.TrimPrefix(path+"."+name, "."), typ)
			}
		}
		if len(o.fields) > 0 {
			out[of.String()] = o
		}
	}
	add("", reflect.TypeFor[facts]())
	add("", reflect.TypeFor[visitFacts]())
	return out
}()

var (
	unknownName     = regexp.MustCompile(`^unknown name (\S+)`)
	unknownField    = regexp.MustCompile(`^type (\S+) has no field (\S+)`)
	unexpectedToken = regexp.MustCompile(`^unexpected token \w+\("(.*)"\)`)
	typeName        = regexp.MustCompile(`\*?(webhook\.\w+|time\.Time|\bu?int(64)?\b|\bfloat64\b|\bstring\b|\bbool\b)`)
)

// inWords says what the compiler of conditions found wrong, without Go's names
// and with what was probably meant.
func (t *topic) inWords(message string) string {
	if m := unknownName.FindStringSubmatch(message); m != nil {
		return "unknown name " + m[1] + handwritten.DidYouMean(m[1], objects[reflect.TypeOf(t.env).String()].fields)
	}
	if m := unknownField.FindStringSubmatch(message); m != nil {
		if o, ok := objects[strings.TrimPrefix(m[1], "*")]; ok {
			return o.path + " has no field " + m[2] + handwritten.DidYouMean(m[2], o.fields)
		}
	}
	if m := unexpectedToken.FindStringSubmatch(message); m != nil {
		switch token := m[1]; {
		case token == "=":
			return `"=" does not compare; write ==`
		case slices.Contains([]string{"and", "or", "not", "in", "contains", "matches", "startswith", "endswith"}, strings.ToLower(token)):
			return fmt.Sprintf("%q is not known; write and, or, not, in, contains, matches, startsWith, endsWith as they stand here", token)
		default:
			return fmt.Sprintf("%q is not expected here; look for what is missing before it", token)
		}
	}
	text := typeName.ReplaceAllStringFunc(message, func(name string) string {
		name = strings.TrimPrefix(name, "*")
		if o, ok := objects[name]; ok {
			return "object " + o.path
		}
		switch name {
		case "time.Time":
			return "time"
		case "string":
			return "text"
		case "bool":
			return "true or false"
		}
		return "number"
	})
	if strings.Contains(text, "types time and") || strings.Contains(text, "and time)") {
		text += `; write a time as date("2026-01-31T00:00:00Z")`
	}
	return text
}
