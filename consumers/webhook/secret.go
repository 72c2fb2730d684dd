package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/guestflow/guestflow/internal/handwritten"
)

const secretPrefix = "whsec_"

// The Standard Webhooks specification wants keys of 24 to 64 bytes.
const (
	minKeyBytes = 24
	maxKeyBytes = 64
)

// Secret is a signing key. It prints as a placeholder, so that no log line or
// error can show it.
type Secret struct{ key []byte }

const makeSecret = `make one with: echo "whsec_$(openssl rand -base64 32)"`

const hidden = "(hidden)"

func (Secret) String() string   { return hidden }
func (Secret) GoString() string { return hidden }

// MarshalText keeps the key out of JSON and YAML too.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// ParseSecret reads a key in its Standard Webhooks form: "whsec_" and 24 to 64
// bytes in base64, whose padding may be left out as JavaScript's libraries permit.
// A byte order mark, white space and quotation marks round it are ignored. The
// error never contains the text.
func ParseSecret(text string) (Secret, error) {
	text, err := handwritten.Line([]byte(text))
	if err != nil {
		return Secret{}, fmt.Errorf("the secret %w; %s", err, makeSecret)
	}
	if text, _ = handwritten.Unquoted(text); text == "" {
		return Secret{}, fmt.Errorf("the secret is empty; %s", makeSecret)
	}
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, errors.New(`a secret must begin with "whsec_", or be a reference "env:NAME" or "file:/path" to one that does`)
	}
	if strings.ContainsAny(encoded, "-_") {
		return Secret{}, fmt.Errorf(`the secret must be in base64's standard alphabet, with "+" and "/" for "-" and "_"; %s`, makeSecret)
	}
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	if err != nil {
		return Secret{}, fmt.Errorf(`the secret is not base64 after "whsec_"; %s`, makeSecret)
	}
	if len(key) < minKeyBytes || len(key) > maxKeyBytes {
		return Secret{}, fmt.Errorf(`the secret has %d bytes, want %d to %d; %s`, len(key), minKeyBytes, maxKeyBytes, makeSecret)
	}
	return Secret{key}, nil
}

// reference reads what "env:NAME" and "file:/path" refer to. A relative path counts from
// the folder of the endpoints file.
func (l *loader) reference(text string) (string, error) {
	return handwritten.Referred(text, l.env, l.file)
}
