package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLogLevelIsChangedByWhoMay: from this machine alone, or with the token where
// one is set; a page of another site whose name leads here may not.
func TestLogLevelIsChangedByWhoMay(t *testing.T) {
	for _, c := range []struct {
		name, token, bearer, from, host string
		status                          int
	}{
		{"this machine", "", "", "127.0.0.1:5000", "localhost:8080", http.StatusOK},
		{"this machine, IPv6", "", "", "[::1]:5000", "[::1]:8080", http.StatusOK},
		{"another machine", "", "", "192.0.2.7:5000", "192.0.2.1:8080", http.StatusForbidden},
		{"a rebound name", "", "", "127.0.0.1:5000", "evil.example:8080", http.StatusForbidden},
		{"no token", "s3cret", "", "127.0.0.1:5000", "localhost:8080", http.StatusForbidden},
		{"the wrong token", "s3cret", "secret", "127.0.0.1:5000", "localhost:8080", http.StatusForbidden},
		{"the token", "s3cret", "s3cret", "192.0.2.7:5000", "192.0.2.1:8080", http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			var logged bytes.Buffer
			log, level := changingLogger(&logged, Config{LogLevel: "info", OccupancyToken: c.token})
			r := httptest.NewRequest(http.MethodPut, logLevelPath, strings.NewReader("debug"))
			r.RemoteAddr, r.Host = c.from, c.host
			if c.bearer != "" {
				r.Header.Set("Authorization", "Bearer "+c.bearer)
			}
			w := httptest.NewRecorder()
			level.serve(w, r)
			log.Debug("a detail")
			permitted := c.status == http.StatusOK
			if w.Code != c.status || strings.Contains(logged.String(), "a detail") != permitted || (level.name() == "debug") != permitted {
				t.Errorf("status %d, level %s, logged %q", w.Code, level.name(), logged.String())
			}
		})
	}
}

func TestUnknownLogLevelChangesNothing(t *testing.T) {
	_, level := changingLogger(&bytes.Buffer{}, Config{LogLevel: "warn"})
	r := httptest.NewRequest(http.MethodPut, "http://localhost"+logLevelPath, strings.NewReader("loud"))
	r.RemoteAddr = "127.0.0.1:5000"
	w := httptest.NewRecorder()
	level.serve(w, r)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "use debug, info, warn, error") || level.name() != "warn" {
		t.Errorf("%d %s, level %s", w.Code, w.Body, level.name())
	}
}
