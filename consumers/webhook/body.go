package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/guestflow/guestflow/internal/group"
)

// template is a compiled expression that makes the body of a request.
type template struct {
	program *vm.Program
	groups  *group.Tree // nil where it does not mention them
	text    bool        // the content type is not JSON: a text goes out as it is
}

// template checks the names and types of source. The error names the column, counted
// from 1.
func (t *topic) template(source, contentType string, groups *group.Tree) (*template, error) {
	program, err := expr.Compile(source, expr.Env(t.env), expr.DisableBuiltin("now"))
	if err != nil {
		return nil, t.whatIsWrong(err, `write for instance {"text": session.location_name}`)
	}
	typ, _, _ := mime.ParseMediaType(contentType)
	return &template{program, mentioned(source, groups), typ != "" && !strings.HasSuffix(typ, "json")}, nil
}

// render makes the body for an event.
func (t *template) render(n notice) ([]byte, error) {
	made, err := vm.Run(t.program, n.topic.facts(n.of, n.groups(t.groups)))
	if err != nil {
		return nil, bareOfSnippet(err)
	}
	if text, ok := made.(string); ok && t.text {
		return []byte(text), nil
	}
	if made == nil {
		return nil, errors.New("it gives nothing")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // receivers show what they are sent
	if err := e.Encode(made); err != nil {
		return nil, fmt.Errorf("it gives no JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// try renders a sample of every kind that the endpoint may get. A kind of which no sample
// meets its condition is passed over.
func (t *template) try(e Endpoint) error {
	for _, kind := range e.topic.kinds {
		n, err := sampleFor(e, kind, sampledAt)
		if err != nil {
			continue
		}
		if _, err := t.render(n); err != nil {
			return fmt.Errorf("with a sample of the kind %s: %w; test what an event may lack, as in previous.device_ip ?? \"\", or ask for fewer kinds", kind, err)
		}
	}
	return nil
}
