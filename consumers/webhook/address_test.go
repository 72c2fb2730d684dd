package webhook

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

func TestOnlyPublicAddressesArePublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"8.8.8.8": true, "93.184.216.34": true, "2606:4700::1111": true, "2a00:1450::1": true,
		"172.15.0.1": true, "172.32.0.1": true, "100.63.255.255": true, "100.128.0.1": true, "64:ff9b::808:808": true, "::ffff:8.8.8.8": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "100.64.0.1": false, "127.0.0.1": false, "127.9.9.9": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.0.0.8": false, "192.168.1.1": false,
		"198.18.0.1": false, "203.0.113.9": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a00:1": false, "64:ff9b:1::808:808": false, "2002:7f00:1::": false, "2002:808:808::1": false,
		"2001::1": false, "2001:db8::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd12::1": false,
		"fec0::1": false, "ff02::1": false, "::127.0.0.1": false, "100::1": false, "2606:4700::1%eth0": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("public(%s) = %v", text, got)
		}
	}
}

func FuzzPublicAddress(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add([]byte(net.ParseIP("::ffff:10.0.0.1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		u := a.Unmap()
		if public(a) && (u.IsPrivate() || u.IsLoopback() || u.IsLinkLocalUnicast() || u.IsMulticast() || u.IsUnspecified() || !u.IsGlobalUnicast() && !nat64.Contains(u)) {
			t.Errorf("%s counts as public", a)
		}
	})
}

// fakeDNS answers every A query with the next of the addresses, the last one for
// ever. It speaks just enough DNS for net.Resolver.
func fakeDNS(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		var asked int
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil || n < 17 {
				return
			}
			q := buf[:n]
			end := 12
			for q[end] != 0 {
				end += int(q[end]) + 1
			}
			end += 5
			answer := append([]byte{}, q[:end]...)
			binary.BigEndian.PutUint16(answer[2:], 0x8180)
			clear(answer[6:12])
			if q[end-3] == 1 { // type A
				a := netip.MustParseAddr(addresses[min(asked, len(addresses)-1)]).As4()
				asked++
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				answer = append(answer, a[:]...)
			}
			if _, err := pc.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

// trap is a server on two addresses of loopback, 127.0.0.1 and 127.0.0.2, that
// counts what reaches it.
func trap(t *testing.T, answer http.HandlerFunc) (port string, hits *atomic.Int64) {
	t.Helper()
	hits = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second, err := net.Listen("tcp4", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	also := &http.Server{Handler: s.Config.Handler, ReadHeaderTimeout: patience}
	t.Cleanup(func() { also.Close() })
	go also.Serve(second) //nolint:errcheck // ends with Close
	return port, hits
}

func sendTo(t *testing.T, rawURL string, resolver *net.Resolver, allow func(netip.Addr) bool, times int) []answer {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	e := Endpoint{Name: "a", URL: u, Secrets: []Secret{key}, Concurrency: 1, Timeout: patience, Format: CloudEvents}
	s := newSender(e, resolver, allow, time.Now)
	defer s.close()
	document, err := events.Encode(sample(events.Started, "s", 1))
	if err != nil {
		t.Fatal(err)
	}
	var out []answer
	for range times {
		out = append(out, s.send(t.Context(), parcel{id: "id", document: document}, false))
		s.close() // so that each dials anew
	}
	return out
}

func TestPrivateAddressIsRefusedHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	port, hits := trap(t, func(http.ResponseWriter, *http.Request) {})
	for name, host := range map[string]string{
		"plain": "127.0.0.1", "mapped": "[::ffff:127.0.0.1]", "unspecified": "0.0.0.0", "loopback 6": "[::1]", "other loopback": "127.1.2.3",
		"name": "hooks.example.com", "nat64": "[64:ff9b::7f00:1]", "name of localhost": "localhost", "hexadecimal": "[::ffff:7f00:1]",
	} {
		a := sendTo(t, "http://"+host+":"+port+"/", fakeDNS(t, "127.0.0.1"), public, 1)[0]
		if !errors.Is(a.err, ErrPrivateAddress) {
			t.Errorf("%s: %v, want it refused as not public", name, a.err)
		}
		if v, reason := judge(a); v != refused || !strings.Contains(reason, "allow_private") {
			t.Errorf("%s: verdict %d %q, want a refusal that names the setting", name, v, reason)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests reached the private address", n)
	}
}

// TestAddressIsCheckedWhenItIsDialled: a name that leads to a permitted address
// first and to a private one later is judged anew at each connect. 127.0.0.2
// stands for the permitted address.
func TestAddressIsCheckedWhenItIsDialled(t *testing.T) {
	t.Parallel()
	port, hits := trap(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	good := netip.MustParseAddr("127.0.0.2")
	answers := sendTo(t, "http://hooks.example.com:"+port+"/", fakeDNS(t, "127.0.0.2", "127.0.0.1"), func(a netip.Addr) bool { return a == good }, 2)
	if answers[0].status != http.StatusNoContent {
		t.Errorf("permitted address: %v", answers[0].err)
	}
	if !errors.Is(answers[1].err, ErrPrivateAddress) {
		t.Errorf("after the name was rebound: status %d, %v; want it refused", answers[1].status, answers[1].err)
	}
	if n := hits.Load(); n != 1 {
		t.Errorf("%d requests arrived, want 1", n)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	port, inner := trap(t, func(http.ResponseWriter, *http.Request) {})
	for _, status := range []int{301, 302, 303, 307, 308} {
		outer, hits := trap(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:"+port+"/latest/meta-data")
			w.WriteHeader(status)
		})
		a := sendTo(t, "http://127.0.0.2:"+outer+"/", nil, func(netip.Addr) bool { return true }, 1)[0]
		if v, reason := judge(a); a.status != status || v != refused || !strings.Contains(reason, "not followed") {
			t.Errorf("redirect %d: status %d, verdict %d, %q", status, a.status, v, reason)
		}
		if hits.Load() != 1 {
			t.Errorf("redirect %d: asked %d times", status, hits.Load())
		}
	}
	if n := inner.Load(); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

func TestProxyFromEnvironmentIsNotUsed(t *testing.T) {
	port, hits := trap(t, func(http.ResponseWriter, *http.Request) {})
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port)
	t.Setenv("http_proxy", "http://127.0.0.1:"+port)
	proxy := netip.MustParseAddr("127.0.0.1") // may be dialled, so that it would be used
	a := sendTo(t, "http://hooks.example.com/", fakeDNS(t, "10.0.0.1"), func(a netip.Addr) bool { return a == proxy }, 1)[0]
	if !errors.Is(a.err, ErrPrivateAddress) || hits.Load() != 0 {
		t.Errorf("error %v, %d requests at the proxy", a.err, hits.Load())
	}
}

func TestAnswerIsReadOnlySoFar(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	port, _ := trap(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := strings.Repeat("x", 32<<10)
		for r.Context().Err() == nil {
			n, err := io.WriteString(w, chunk)
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	})
	a := sendTo(t, "http://127.0.0.1:"+port+"/", nil, func(netip.Addr) bool { return true }, 1)[0]
	if v, reason := judge(a); v != accepted {
		t.Errorf("endless answer with status 200: %s", reason)
	}
	// What the kernel buffers on both sides adds to the 64 KiB that are read.
	if n := written.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

func TestReasonHoldsNoURL(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	a := sendTo(t, "http://"+address+"/t0ken?key=t0ken", nil, func(netip.Addr) bool { return true }, 1)[0]
	if _, reason := judge(a); a.err == nil || strings.Contains(reason, "t0ken") {
		t.Errorf("reason %q", reason)
	}
}
