package platform

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

// TestConnectionsAreMatchedByAddress: as Guests are, and whoever is behind an address
// makes no difference.
func TestConnectionsAreMatchedByAddress(t *testing.T) {
	const a, b = "10.1.1.5", "10.1.1.6"
	const adaFields = `"username":"C0FFEE01","name":"Ada Example","email":"ada@example.com","duration":42`
	const adaJSON = `{"ip_address":"10.1.1.5",` + adaFields + `}`
	const bobJSON = `{"ip_address":"10.1.1.6","username":"C0FFEE02","name":"Bob Example","email":"bob@example.com","duration":120}`
	for name, tc := range map[string]struct {
		asked []string
		body  string
		want  string // durations by address, as asked
	}{
		"one, object":                  {[]string{a}, adaJSON, "42"},
		"one, object with space":       {[]string{a}, "\r\n\t " + adaJSON + "\n", "42"},
		"one, array":                   {[]string{a}, `[` + adaJSON + `]`, "42"},
		"one without address":          {[]string{a}, `{` + adaFields + `}`, "42"},
		"one with null address":        {[]string{a}, `{"ip_address":null,` + adaFields + `}`, "42"},
		"two without address for one":  {[]string{a}, `[{` + adaFields + `},{"duration":42}]`, "?"},
		"several, array":               {[]string{a, b}, `[` + adaJSON + `,` + bobJSON + `]`, "42 120"},
		"several, other order":         {[]string{a, b}, `[` + bobJSON + `,` + adaJSON + `]`, "42 120"},
		"several, object":              {[]string{a, b}, bobJSON, "- 120"},
		"several, one missing":         {[]string{a, b}, `[` + bobJSON + `]`, "- 120"},
		"several without address":      {[]string{a, b}, `[{` + adaFields + `},` + bobJSON + `]`, "- 120"},
		"nobody":                       {[]string{a, b}, `[]`, "- -"},
		"asked twice":                  {[]string{a, a}, `[` + adaJSON + `]`, "42 42"},
		"twice the same, a second on":  {[]string{a, b}, `[` + adaJSON + `,{"ip_address":"10.1.1.5","duration":43}]`, "42 -"},
		"two connections":              {[]string{a, b}, `[` + adaJSON + `,{"ip_address":"10.1.1.5","duration":900}]`, "? -"},
		"two, then the first again":    {[]string{a, b}, `[` + adaJSON + `,{"ip_address":"::ffff:10.1.1.5","duration":900},` + adaJSON + `]`, "? -"},
		"one connection, two guests":   {[]string{a, b}, `[` + adaJSON + `,{"ip_address":"10.1.1.5","name":"Eve","duration":42}]`, "42 -"},
		"foreign":                      {[]string{a}, bobJSON, "-"},
		"unreadable address":           {[]string{a}, `{"ip_address":"10.1.1",` + adaFields + `}`, "-"},
		"address of another type":      {[]string{a}, `{"ip_address":["10.1.1.5"],` + adaFields + `}`, "-"},
		"address that is long":         {[]string{a}, `{"ip_address":"` + strings.Repeat("1", 300) + `",` + adaFields + `}`, "-"},
		"v4-mapped answer":             {[]string{a}, `{"ip_address":"::ffff:10.1.1.5",` + adaFields + `}`, "42"},
		"v4-mapped question":           {[]string{"::ffff:10.1.1.5"}, adaJSON, "42"},
		"empty object":                 {[]string{a}, `{}`, "-"},
		"message":                      {[]string{a}, `{"message":"No session"}`, "-"},
		"nulls":                        {[]string{a}, `{"ip_address":null,"name":"","duration":null}`, "-"},
		"nothing but the address":      {[]string{a}, `{"ip_address":"10.1.1.5"}`, "?"},
		"damaged neighbours":           {[]string{a, b}, `[null,"x",7,[],` + adaJSON + `,{}]`, "42 -"},
		"duration in quotes":           {[]string{a}, `{"ip_address":"10.1.1.5","duration":"42"}`, "42"},
		"duration negative":            {[]string{a}, `{"ip_address":"10.1.1.5","duration":-1}`, "?"},
		"duration beyond 64 bits":      {[]string{a}, `{"ip_address":"10.1.1.5","duration":99999999999999999999}`, "?"},
		"duration with decimals":       {[]string{a}, `{"ip_address":"10.1.1.5","duration":42.9}`, "42"},
		"duration with an exponent":    {[]string{a}, `{"ip_address":"10.1.1.5","duration":4.2e1}`, "42"},
		"duration as a clock":          {[]string{a}, `{"ip_address":"10.1.1.5","duration":"00:01:02"}`, "?"},
		"duration empty":               {[]string{a}, `{"ip_address":"10.1.1.5","duration":""}`, "?"},
		"names are not looked into":    {[]string{a}, `{"name":{"ip_address":"10.1.1.6","duration":7},"ip_address":"10.1.1.5","duration":42}`, "42"},
		"invalid UTF-8 in a name":      {[]string{a}, "{\"name\":\"\xff\xfe\",\"ip_address\":\"10.1.1.5\",\"duration\":42}", "42"},
		"the last of two of one field": {[]string{a}, `{"ip_address":"10.1.1.6","ip_address":"10.1.1.5","duration":1,"duration":42}`, "42"},
	} {
		t.Run(name, func(t *testing.T) {
			var last *http.Request
			c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, tc.body, &last) })
			got, _, err := c.Connections(t.Context(), addrs(tc.asked...))
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for _, a := range addrs(tc.asked...) {
				text := "-"
				for _, g := range got {
					if g.Address != a.Unmap() {
						continue
					}
					if text = fmt.Sprint(g.Duration); g.Duration == UnknownDuration {
						text = "?"
					}
				}
				told = append(told, text)
			}
			if text := strings.Join(told, " "); text != tc.want {
				t.Errorf("%s: read %q, want %q", tc.body, text, tc.want)
			}
		})
	}
}

func TestConnectionsRefuseWhatIsDamaged(t *testing.T) {
	for _, body := range []string{"", "null", "7", "<html>", `{"ip_address":"10.1.1.5","duration":42`, `[{"ip_address":"10.1.1.5"},`, `[] []`, `{}{}`} {
		c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, body, nil) })
		_, _, err := c.Connections(t.Context(), addrs("10.1.1.5", "10.1.1.6"))
		if err == nil {
			t.Errorf("%q: no error", body)
			continue
		}
		if f := fault(t, err); f.Kind != Malformed {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestNotFoundIsAnAnswerForOneAddressAlone: for several it may be that the endpoint is
// not there.
func TestNotFoundIsAnAnswerForOneAddressAlone(t *testing.T) {
	c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(404, `{"message":"none"}`, nil) })
	if got, _, err := c.Connections(t.Context(), addrs("10.1.1.5")); err != nil || len(got) > 0 {
		t.Errorf("one address: %v, %v", got, err)
	}
	if _, _, err := c.Connections(t.Context(), addrs("10.1.1.5", "10.1.1.6")); err == nil || fault(t, err).Kind != NotFound {
		t.Errorf("two addresses: %v", err)
	}
}

func TestConnectionsAskForOneToAHundred(t *testing.T) {
	var last *http.Request
	c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, `[]`, &last) })
	many := make([]netip.Addr, MaxIPs+1)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	}
	for _, wrong := range [][]netip.Addr{nil, many, {{}}} {
		if _, _, err := c.Connections(t.Context(), wrong); err == nil {
			t.Errorf("%d addresses were asked for", len(wrong))
		}
	}
	if _, _, err := c.Connections(t.Context(), many[:MaxIPs]); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(last.URL.Path, ","); n != MaxIPs-1 {
		t.Errorf("the path has %d commas", n)
	}
}

// persons are the names that an answer may hold.
var persons = []string{"C0FFEE01", "Ada Example", "ada@example.com"}

func addressBody(n, nameLength int) (body []byte, asked []netip.Addr) {
	var records []string
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i % 250)})
		asked = append(asked, a)
		records = append(records, fmt.Sprintf(`{"ip_address":"%s","username":"%s%s","name":"%s%s","email":"%s%s","duration":%d}`, a,
			persons[0], strings.Repeat("u", nameLength), persons[1], strings.Repeat("n", nameLength), persons[2], strings.Repeat("e", nameLength), 40+i))
	}
	return []byte("[" + strings.Join(records, ",") + "]"), asked
}

// TestConnectionsMakeNothingOfNames: reading an answer allocates as much with names of a
// kilobyte as with none, and about nothing for each record; what is returned has no
// pointer into the body.
func TestConnectionsMakeNothingOfNames(t *testing.T) {
	measure := func(records, nameLength int) float64 {
		body, asked := addressBody(records, nameLength)
		index := make(map[string]int)
		answers := make([]Connection, len(asked))
		for i, a := range asked {
			index[a.String()] = i
		}
		return testing.AllocsPerRun(50, func() {
			for i := range answers {
				answers[i] = Connection{asked[i], unanswered}
			}
			if err := decodeConnections(body, index, answers); err != nil || answers[0].Duration != 40 {
				t.Fatal(err, answers[0])
			}
		})
	}
	few, many, long := measure(2, 0), measure(100, 0), measure(100, 1000)
	if long != many {
		t.Errorf("with long names %.0f allocations, with short ones %.0f", long, many)
	}
	if many > few+5 {
		t.Errorf("100 records take %.0f allocations, two take %.0f", many, few)
	}
	if size := unsafe.Sizeof(Connection{}); size > 40 {
		t.Errorf("an answer has %d bytes: there is no room for anything but address and duration", size)
	}
}

// TestConnectionsForgetTheBody: the bytes are gone once they are read.
func TestConnectionsForgetTheBody(t *testing.T) {
	body, asked := addressBody(3, 0)
	index := make(map[string]int)
	answers := make([]Connection, len(asked))
	for i, a := range asked {
		index[a.String()], answers[i] = i, Connection{a, unanswered}
	}
	if err := client(t, "http://h", nil).readConnections(body, Meta{}, index, answers); err != nil || answers[2].Duration != 42 {
		t.Fatal(err, answers)
	}
	if slices.ContainsFunc(body, func(b byte) bool { return b != 0 }) {
		t.Errorf("of the body is left %q", body)
	}
}

// TestConnectionErrorsNameNobody, whatever is wrong with the answer.
func TestConnectionErrorsNameNobody(t *testing.T) {
	body, asked := addressBody(3, 0)
	for status, text := range map[int]string{200: string(body[:len(body)-20]), 422: string(body), 500: string(body)} {
		c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(status, text, nil) })
		_, _, err := c.Connections(t.Context(), asked)
		if err == nil {
			t.Fatalf("%d: no error", status)
		}
		for _, p := range append(slices.Clone(persons), "10.0.0.") {
			if strings.Contains(err.Error(), p) {
				t.Errorf("%d: the error names %q: %v", status, p, err)
			}
		}
	}
}

func FuzzConnections(f *testing.F) {
	for _, body := range []string{`[]`, `{}`, `[{"ip_address":"10.0.0.0","duration":40}]`, `{"ip_address":"10.0.0.1","duration":"4"}`, `null`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, asked := addressBody(2, 0)
		index := map[string]int{asked[0].String(): 0, asked[1].String(): 1}
		answers := []Connection{{asked[0], unanswered}, {asked[1], unanswered}}
		_ = decodeConnections(body, index, answers)
		for i, a := range answers {
			if a.Address != asked[i] || a.Duration < unanswered || a.Duration > 1<<41 {
				t.Fatalf("%q: %+v", body, a)
			}
		}
	})
}
