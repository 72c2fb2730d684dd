package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hostileTrials are a platform and clients of the HTTP address that mean harm. After
// each, the process lives, has not grown beyond mostMemory, and events come again.
var hostileTrials = []trial{
	{name: "platform: body without end", short: 1, long: 2, harm: answered(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"data":[`)
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
				return
			}
		}
	})},
	{name: "platform: slow body", long: 2, harm: answered(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})},
	{name: "platform: decompression bomb", short: 1, long: 2, harm: answered(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 512 {
			if _, err := z.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
		_ = z.Close() // The client has left by then.
	})},
	{name: "platform: deep JSON", short: 1, long: 2, harm: answered(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":`+strings.Repeat("[", 1<<20))
	})},
	{name: "platform: pages without end", short: 1, long: 2, harm: mixed(nil, "http://elsewhere.invalid/sessions?page=2")},
	{name: "platform: wrong types in each field", short: 1, long: 2, harm: mixed(twisted, "")},
	{name: "platform: ids with NATS's own characters, and of 64 KiB", short: 1, long: 2, harm: mixed(oddIDs, "")},
	{name: "platform: years 0 and 9999, negative sizes", short: 1, long: 2, harm: mixed(oddFigures, "")},
	{name: "HTTP: readers that do not read", short: 1, long: 2, harm: idleClients(200, "GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")},
	{name: "HTTP: 10,000 connections", long: 1, harm: idleClients(10_000, "GET / HTTP/1.1\r\n")},
	{name: "HTTP: 1,000 connections", short: 1, long: 1, harm: idleClients(1_000, "GET / HTTP/1.1\r\n")},
	{name: "HTTP: huge headers", short: 1, long: 2, harm: idleClients(20, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 4<<20)+"\r\n\r\n")},
	{name: "HTTP: path tricks, foreign Host and Origin", short: 1, long: 2, harm: tricks},
}

// mostMemory is what the process may take at its peak, in bytes: the bound on a body,
// what decoding makes of it, and the rest.
const mostMemory = 400 << 20

// hostilePrefix begins the ids of sessions that only a hostile platform has.
const hostilePrefix = "hostile-"

func hostileRecord(id string) map[string]any {
	return map[string]any{
		"id": id, "location_id": hostilePrefix + "place", "location_name": "Place", "connection_status": "Online", "connection_status_value": 1,
		"start_time": time.Now().UTC().Format(time.RFC3339), "end_time": nil, "total_duration": "00:01:00",
		"downloaded_data": "1.00 MB", "uploaded_data": "1.00 MB", "guest_device_description": "phone", "guest_device_ip": "10.0.0.1", "guest_device_mac": "02:00:00:00:00:01",
		"access_code": "c", "login_type_name": "form", "service_profile_name": "free", "guest_id": "g", "yas_id": "y",
	}
}

// mixed has the platform add records to its true answers for a while, and another next
// link. That a list without those who are there ends them is right: a platform that lies
// in good form is believed.
func mixed(records func() []map[string]any, next string) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		return answered(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			m.sim.ServeHTTP(answer, r)
			var page map[string]any
			if strings.HasSuffix(r.URL.Path, "/sessions") && json.Unmarshal(answer.Body.Bytes(), &page) == nil && answer.Code == http.StatusOK {
				data, _ := page["data"].([]any)
				if records != nil {
					for _, r := range records() {
						data = append(data, r)
					}
				}
				if links, ok := page["links"].(map[string]any); ok && next != "" {
					links["next"] = next
				}
				page["data"] = data
				body, _ := json.Marshal(page) // It was JSON before.
				answer.Body = bytes.NewBuffer(body)
			}
			for k, v := range answer.Header() {
				if k != "Content-Length" {
					w.Header()[k] = v
				}
			}
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes()) // The client may have left.
		})(m, r)
	}
}

// twisted has each field of a record in types that it cannot have.
func twisted() (records []map[string]any) {
	for _, f := range slices.Sorted(maps.Keys(hostileRecord(""))) {
		for i, v := range []any{nil, 1e300, -1, true, []any{}, map[string]any{"a": 1}, "", "\ufffd", strings.Repeat("9", 400)} {
			r := hostileRecord(hostilePrefix + f + strconv.Itoa(i))
			r[f] = v
			records = append(records, r)
		}
	}
	return records
}

func oddIDs() (records []map[string]any) {
	for _, odd := range []string{"a.b", "*", ">", " ", "a b", "\r\nPUB x 0", "$JS.API.STREAM.DELETE.GUEST_SESSIONS", strings.Repeat("x", 64<<10), "\x00", "é"} {
		r := hostileRecord(hostilePrefix + odd)
		r["location_id"] = hostilePrefix + odd
		records = append(records, r)
	}
	return records
}

func oddFigures() (records []map[string]any) {
	for i, at := range []string{"0000-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "-0001-01-01T00:00:00+00:00", "99999-01-01T00:00:00Z"} {
		r := hostileRecord(hostilePrefix + "year" + strconv.Itoa(i))
		r["start_time"], r["end_time"], r["downloaded_data"], r["uploaded_data"], r["total_duration"] = at, at, "-1 GB", "9e99 TB", "-1:00:00"
		records = append(records, r)
	}
	return records
}

// answered has the platform answer that way for a while.
func answered(h http.HandlerFunc) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		m.hostile.Store(&h)
		defer m.hostile.Store(nil)
		time.Sleep(m.between(r, 3*time.Second, 6*time.Second))
		return m.small()
	}
}

// small checks how much memory the process took at its peak.
func (m *machine) small() error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.guestflow.Process.Pid))
	if err != nil {
		return nil // No such file but on Linux; that it lives is asked elsewhere.
	}
	for line := range strings.Lines(string(status)) {
		var kB int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kB); err == nil && kB<<10 > mostMemory {
			return fmt.Errorf("it took %d MB of memory", kB>>10)
		}
	}
	return nil
}

// healthy asks /healthz.
func (m *machine) healthy() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.web+"/healthz", nil)
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz answers %s", a.Status)
	}
	return nil
}

// idleClients opens connections, sends something on each, and reads nothing.
func idleClients(n int, say string) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		var conns []net.Conn
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		for range n {
			c, err := net.DialTimeout("tcp", m.web, 2*time.Second)
			if err != nil {
				break // Refusing is one way to bear it.
			}
			conns = append(conns, c)
		}
		var saying sync.WaitGroup
		for _, c := range conns {
			saying.Go(func() {
				_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
				_, _ = io.WriteString(c, say) // It may well refuse to hear that.
			})
		}
		saying.Wait()
		time.Sleep(m.between(r, time.Second, 3*time.Second))
		err := errors.Join(m.lives(), m.small())
		for _, c := range conns {
			c.Close()
		}
		return errors.Join(err, m.healthy())
	}
}

// tricks asks for what is not there, and from where nobody may ask.
func tricks(m *machine, _ *rand.Rand) error {
	for _, path := range []string{"/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/v1/..%2f..%2fetc/passwd", "/\x00", "/v1/locations/" + strings.Repeat("a/", 2000), "*", "http://elsewhere.invalid/"} {
		if text, err := m.ask("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"); err == nil && strings.Contains(text, "root:") {
			return fmt.Errorf("GET %q gives away a file", path)
		}
	}
	for _, from := range []string{"Host: evil.example\r\n", "Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n"} {
		text, err := m.ask("GET /v1/locations HTTP/1.1\r\n" + from + "Connection: close\r\n\r\n")
		if err != nil {
			return err
		}
		if head, _, _ := strings.Cut(text, "\r\n\r\n"); strings.Contains(strings.ToLower(head), "access-control-allow-origin") {
			return fmt.Errorf("a foreign origin is let in: %s", head)
		}
	}
	return errors.Join(m.lives(), m.healthy())
}

// ask sends bytes to the HTTP address and returns the beginning of the answer.
func (m *machine) ask(request string) (string, error) {
	c, err := net.DialTimeout("tcp", m.web, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(bufio.NewReader(c), 64<<10))
	if len(text) > 0 {
		err = nil
	}
	return string(text), err
}
