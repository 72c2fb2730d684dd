package platform

import (
	"net/http"
	"slices"
	"testing"
)

func TestGuestsAreMatchedByAddress(t *testing.T) {
	const a, b, v6 = "10.1.1.5", "10.1.1.6", "2001:db8::1"
	ada := Guest{IP: a, Username: "C0FFEE01", Name: "Ada Example", Email: "ada@example.com", Duration: 42}
	bob := Guest{IP: b, Username: "C0FFEE02", Name: "Bob Example", Email: "bob@example.com", Duration: 120}
	const adaFields = `"username":"C0FFEE01","name":"Ada Example","email":"ada@example.com","duration":42`
	const adaJSON = `{"ip_address":"10.1.1.5",` + adaFields + `}`
	const bobJSON = `{"ip_address":"10.1.1.6","username":"C0FFEE02","name":"Bob Example","email":"bob@example.com","duration":120}`
	for name, tc := range map[string]struct {
		asked []string
		body  string
		want  []Guest
	}{
		"one, object":                      {[]string{a}, adaJSON, []Guest{ada}},
		"one, object with space before it": {[]string{a}, "\r\n\t " + adaJSON + "\n", []Guest{ada}},
		"one, array":                       {[]string{a}, `[` + adaJSON + `]`, []Guest{ada}},
		"several, array":                   {[]string{a, b}, `[` + adaJSON + `,` + bobJSON + `]`, []Guest{ada, bob}},
		"several, other order":             {[]string{a, b}, `[` + bobJSON + `,` + adaJSON + `]`, []Guest{bob, ada}},
		"several, object":                  {[]string{a, b}, bobJSON, []Guest{bob}},
		"several, one missing":             {[]string{a, b}, `[` + bobJSON + `]`, []Guest{bob}},
		"twice the same":                   {[]string{a, b}, `[` + adaJSON + `,` + bobJSON + `,` + adaJSON + `]`, []Guest{ada, bob}},
		"two guests for one address":       {[]string{a, b}, `[` + adaJSON + `,` + bobJSON + `,{"ip_address":"10.1.1.5","name":"Eve"}]`, []Guest{bob}},
		"disputed, then the first again":   {[]string{a}, `[` + adaJSON + `,{"ip_address":"::ffff:10.1.1.5","name":"Eve"},` + adaJSON + `]`, []Guest{}},
		"two connections of one guest":     {[]string{a}, `[{"ip_address":"10.1.1.5","name":"Ada","duration":1},{"ip_address":"10.1.1.5","name":"Ada","duration":900}]`, []Guest{}},
		"nobody":                           {[]string{a, b}, `[]`, nil},
		"one without address":              {[]string{a}, `{` + adaFields + `}`, []Guest{ada}},
		"one in an array without address":  {[]string{a}, `[{` + adaFields + `}]`, []Guest{ada}},
		"one with null address":            {[]string{a}, `{"ip_address":null,` + adaFields + `}`, []Guest{ada}},
		"several without address":          {[]string{a, b}, `[{` + adaFields + `},` + bobJSON + `]`, []Guest{bob}},
		"two without address for one":      {[]string{a}, `[{` + adaFields + `},{` + adaFields + `}]`, nil},
		"foreign":                          {[]string{a}, bobJSON, nil},
		"foreign among":                    {[]string{a}, `[` + bobJSON + `,` + adaJSON + `]`, []Guest{ada}},
		"unreadable address":               {[]string{a}, `{"ip_address":"10.1.1",` + adaFields + `}`, nil},
		"address of another type":          {[]string{a}, `{"ip_address":["10.1.1.5"],` + adaFields + `}`, nil},
		"v4-mapped answer":                 {[]string{a}, `{"ip_address":"::ffff:10.1.1.5",` + adaFields + `}`, []Guest{ada}},
		"v4-mapped question":               {[]string{"::ffff:10.1.1.5"}, adaJSON, []Guest{ada}},
		"v6 written otherwise":             {[]string{"2001:DB8:0::1"}, `{"ip_address":"2001:0db8::0001"}`, []Guest{{IP: v6}}},
		"v6 with zone":                     {[]string{"fe80::1"}, `{"ip_address":"fe80::1%eth0","name":"x"}`, []Guest{{IP: "fe80::1", Name: "x"}}},
		"nothing but the address":          {[]string{a}, `{"ip_address":"10.1.1.5"}`, []Guest{{IP: a}}},
		"empty object is nobody":           {[]string{a}, `{}`, nil},
		"message is nobody":                {[]string{a}, `{"message":"No session"}`, nil},
		"nulls are nobody":                 {[]string{a}, `{"ip_address":null,"username":null,"name":"","email":null,"duration":null}`, nil},
		"null is nobody":                   {[]string{a}, `null`, nil},
		"damaged neighbours":               {[]string{a, b}, `[null,"x",7,[],` + adaJSON + `,{}]`, []Guest{ada}},
		"fields of other types":            {[]string{a}, `{"ip_address":"10.1.1.5","username":5551234,"name":["x"],"email":{},"duration":"42"}`, []Guest{{IP: a, Username: "5551234", Duration: 42}}},
		"duration negative":                {[]string{a}, `{"ip_address":"10.1.1.5","duration":-1}`, []Guest{{IP: a}}},
		"duration huge":                    {[]string{a}, `{"ip_address":"10.1.1.5","duration":1e300}`, []Guest{{IP: a}}},
		"duration beyond 64 bits":          {[]string{a}, `{"ip_address":"10.1.1.5","duration":99999999999999999999}`, []Guest{{IP: a}}},
		"duration with decimals":           {[]string{a}, `{"ip_address":"10.1.1.5","duration":42.9}`, []Guest{{IP: a, Duration: 42}}},
		"new fields":                       {[]string{a}, `{"ip_address":"10.1.1.5","new":{"ip_address":"10.1.1.6"},"duration":42}`, []Guest{{IP: a, Duration: 42}}},
	} {
		var last *http.Request
		c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, tc.body, &last) })
		got, m, err := c.Guests(t.Context(), tc.asked)
		if err != nil || !slices.Equal(got, tc.want) || m.Endpoint != Guests {
			t.Errorf("%s: %+v %v\nwant %+v", name, got, err, tc.want)
		}
	}
}

func TestGuestsPassThePrivacySettings(t *testing.T) {
	const body = `{"ip_address":"10.1.1.5","username":"C0FFEE01","name":"Ada Example","email":"ada@example.com","duration":42}`
	for _, mode := range []Mode{Keep, Hash, Drop} {
		p := Privacy{Name: mode, Email: mode, Key: "k"}
		c := client(t, "http://h", func(cfg *Config) { cfg.Transport, cfg.Privacy = answering(200, body, nil), p })
		got, _, err := c.Guests(t.Context(), []string{"10.1.1.5"})
		want := Guest{IP: "10.1.1.5", Username: p.apply(mode, "C0FFEE01"), Name: p.apply(mode, "Ada Example"), Email: p.apply(mode, "ada@example.com"), Duration: 42}
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v %v, want %+v", mode, got, err, want)
		}
	}
}

func TestLocationsAreRead(t *testing.T) {
	for name, tc := range map[string]struct {
		body    string
		want    []Location
		skipped int
		more    bool
	}{
		"none":               {`{"data":[]}`, nil, 0, false},
		"plain":              {`{"data":[{"id":"a","name":"Harbour","city":"x","lat":1.5}]}`, []Location{{ID: "a", Name: "Harbour"}}, 0, false},
		"numbers as ids":     {`{"data":[{"id":7,"name":null}]}`, []Location{{ID: "7"}}, 0, false},
		"trashed":            {`{"data":[{"id":"a","is_trashed":true},{"id":"b","is_trashed":1},{"id":"c","is_trashed":"1"},{"id":"d","is_trashed":"true"}]}`, []Location{{ID: "a", Trashed: true}, {ID: "b", Trashed: true}, {ID: "c", Trashed: true}, {ID: "d", Trashed: true}}, 0, false},
		"not trashed":        {`{"data":[{"id":"a","is_trashed":false},{"id":"b","is_trashed":0},{"id":"c","is_trashed":null},{"id":"d","is_trashed":"no"}]}`, []Location{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}, 0, false},
		"damaged neighbours": {`{"data":[null,"x",7,[],{},{"id":null},{"id":""},{"id":"\u0000"},{"id":"a"}]}`, []Location{{ID: "a"}}, 8, false},
		"more":               {`{"data":[{"id":"a"}],"links":{"next":"[[BaseUrl]]/locations?page=2"}}`, []Location{{ID: "a"}}, 0, true},
		"next null":          {`{"data":[{"id":"a"}],"links":{"next":null}}`, []Location{{ID: "a"}}, 0, false},
		"next empty":         {`{"data":[{"id":"a"}],"links":{"next":""}}`, []Location{{ID: "a"}}, 0, false},
		"next of its own":    {`{"data":[{"id":"a"}],"links":{"next":2}}`, []Location{{ID: "a"}}, 0, true},
		"links a list":       {`{"data":[{"id":"a"}],"links":[]}`, []Location{{ID: "a"}}, 0, false},
		"links null":         {`{"links":null,"data":[{"id":"a"}]}`, []Location{{ID: "a"}}, 0, false},
	} {
		c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, tc.body, nil) })
		p, err := c.Locations(t.Context(), 1)
		if err != nil || !slices.Equal(p.Locations, tc.want) || p.Skipped != tc.skipped || p.More != tc.more {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
}

func TestLocationsArePaged(t *testing.T) {
	var last *http.Request
	c := client(t, "http://h/api", func(cfg *Config) { cfg.Transport = answering(200, `{"data":[]}`, &last) })
	for page, want := range map[int]string{-1: "1", 0: "1", 1: "1", 2: "2", 40: "40"} {
		if _, err := c.Locations(t.Context(), page); err != nil || last.URL.Path != "/api/locations" ||
			last.URL.Query().Get("page") != want || last.URL.Query().Get("per_page") != "100" {
			t.Errorf("page %d: %s %v", page, last.URL, err)
		}
	}
}

func TestCountIsRead(t *testing.T) {
	for body, want := range map[string]int{`{"count":0}`: 0, `{"count":1000}`: 1000, `{"count":"42"}`: 42, `{"new":[],"count": 7 }`: 7} {
		c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, body, nil) })
		if n, _, err := c.Count(t.Context(), Query{}); err != nil || n != want {
			t.Errorf("%s: %d %v", body, n, err)
		}
	}
}
