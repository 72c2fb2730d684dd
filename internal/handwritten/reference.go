package handwritten

import (
	"fmt"
	"strings"
)

const (
	envReference  = "env:"
	fileReference = "file:"
)

// IsReference reports whether the text is not a value but says where one is.
func IsReference(text string) bool {
	return strings.HasPrefix(text, envReference) || strings.HasPrefix(text, fileReference)
}

// Referred reads what "env:NAME" and "file:/path" refer to, and returns any other text as
// it is. The error names the reference, never a value.
func Referred(text string, env func(string) (string, bool), read func(path string) ([]byte, error)) (string, error) {
	if name, ok := strings.CutPrefix(text, envReference); ok {
		value, set := env(name)
		if !set {
			return "", fmt.Errorf("environment variable %q is not set", name)
		}
		value, err := Line([]byte(value))
		if err != nil {
			return "", fmt.Errorf("environment variable %q %w", name, err)
		}
		return value, nil
	}
	if path, ok := strings.CutPrefix(text, fileReference); ok {
		data, err := read(path)
		if err != nil {
			return "", fmt.Errorf("cannot read the referenced file: %w", err)
		}
		value, err := Line(data)
		if err != nil {
			return "", fmt.Errorf("the referenced file %s %w", path, err)
		}
		return value, nil
	}
	return text, nil
}
