package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
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

const hidden = "(hidden)"

func (Secret) String() string   { return hidden }
func (Secret) GoString() string { return hidden }

// MarshalText keeps the key out of JSON and YAML too.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// ParseSecret reads a key in its Standard Webhooks form: "whsec_" and 24 to 64
// bytes in base64. The error never contains the text.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, errors.New(`a secret must begin with "whsec_", or be a reference "env:NAME" or "file:/path" to one that does`)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Secret{}, errors.New(`the secret is not base64 after "whsec_"; make one with: echo "whsec_$(openssl rand -base64 32)"`)
	}
	if len(key) < minKeyBytes || len(key) > maxKeyBytes {
		return Secret{}, fmt.Errorf(`the secret has %d bytes, want %d to %d; make one with: echo "whsec_$(openssl rand -base64 32)"`, len(key), minKeyBytes, maxKeyBytes)
	}
	return Secret{key}, nil
}

// reference reads what "env:NAME" and "file:/path" refer to, and returns any
// other text as it is. A relative path counts from the folder of the endpoints
// file. The error names the reference, never a value.
func (l *loader) reference(text string) (string, error) {
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		value, set := l.env(name)
		if !set || value == "" {
			return "", fmt.Errorf("environment variable %q is not set", name)
		}
		return strings.TrimSpace(value), nil
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(l.folder, path)
		}
		l.files = append(l.files, path) // also one that is still to be made
		value, err := l.read(path)
		if err != nil {
			return "", fmt.Errorf("cannot read the referenced file: %w", err)
		}
		if strings.TrimSpace(string(value)) == "" {
			return "", fmt.Errorf("the referenced file %s is empty", path)
		}
		return strings.TrimSpace(string(value)), nil
	}
	return text, nil
}
