package tracing

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
)

// checkVariables finds what the exporter passes over where it cannot use it. The error
// names the variable.
func checkVariables() error {
	for _, what := range []struct {
		name string
		is   func(string) error
	}{
		{"ENDPOINT", endpoint}, {"TIMEOUT", milliseconds},
		{"CERTIFICATE", readable}, {"CLIENT_CERTIFICATE", readable}, {"CLIENT_KEY", readable},
	} {
		for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"} {
			name := prefix + what.name
			value := os.Getenv(name)
			if value == "" {
				continue
			}
			if err := what.is(value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func endpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		// Not the text itself, which may hold a password.
		return errors.New("this is no address of a collector; write it as in http://collector:4318")
	}
	return nil
}

func milliseconds(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 0 {
		return fmt.Errorf("%q: use whole milliseconds, such as 10000", text)
	}
	return nil
}

func readable(path string) error {
	_, err := os.ReadFile(path)
	return err
}
