package platform

import (
	"fmt"
	"strings"
	"testing"
)

func TestNextLinksAreJudgedAndNeverTrusted(t *testing.T) {
	const base = "https://api.example.com/api/v1"
	for _, tc := range []struct {
		next       string // JSON
		page       int
		more       bool
		suspicious string // part of it; empty is none
	}{
		{`null`, 1, false, ""}, {`""`, 1, false, ""}, {`false`, 1, false, ""},
		{`"[[BaseUrl]]/sessions?page=2"`, 0, true, ""}, {`"[[BaseUrl]]/sessions?page=2"`, 1, true, ""},
		{`"https://api.example.com/api/v1/sessions?page=2"`, 1, true, ""},
		{`"https:\/\/api.example.com\/api\/v1\/sessions?page=8&online=true"`, 7, true, ""},
		{`"HTTPS://API.example.com:443/api/v1/sessions?page=2"`, 1, true, ""},
		{`"/api/v1/sessions?page=2"`, 1, true, ""}, {`"?page=2"`, 1, true, ""},
		{`"https://api.example.com/api/v1/sessions?cursor=abc"`, 1, true, ""},
		// hostile
		{`"https://evil.example/sessions?page=2"`, 1, true, `host "evil.example"`},
		{`"//evil.example/sessions?page=2"`, 1, true, `host "evil.example"`},
		{`"https://api.example.com@evil.example/?page=2"`, 1, true, `host "evil.example"`},
		{`"https://api.example.com.evil.example/?page=2"`, 1, true, "host"},
		{`"https://api.example.com:8443/?page=2"`, 1, true, `port 8443 of host "api.example.com", which is asked at port 443`},
		{`"[[BaseUrl]]//evil.example/?page=2"`, 1, true, `host "evil.example"`},
		{`"http://api.example.com/api/v1/sessions?page=2"`, 1, true, `scheme "http"`},
		{`"javascript:alert(1)"`, 1, true, `scheme "javascript"`}, {`"file:///etc/passwd"`, 1, true, `scheme "file"`},
		{`"[[BaseUrl]]/sessions?page=3"`, 3, true, `page 3 is followed by page "3"`},
		{`"[[BaseUrl]]/sessions?page=1"`, 5, true, `page 5 is followed by page "1"`},
		{`"[[BaseUrl]]/sessions?page=9"`, 5, true, `page 5 is followed by page "9"`},
		{`"[[BaseUrl]]/sessions?page=two"`, 1, true, `page "two"`},
		{`"http://[::1"`, 1, true, "cannot be read"}, {`"%zz"`, 1, true, "cannot be read"}, {`"\u0000"`, 1, true, "cannot be read"},
		{`"https://` + strings.Repeat("x", 5000) + `/"`, 1, true, "host"},
		// of another type: not an end, or what follows would count as gone
		{`2`, 1, true, "not a text"}, {`true`, 1, true, "not a text"}, {`{"href":null}`, 1, true, "not a text"}, {`[]`, 1, true, "not a text"},
	} {
		body := fmt.Sprintf(`{"data":[],"links":{"first":1,"next":%s,"new":{"next":"x"}}}`, tc.next)
		page, err := client(t, base, nil).DecodePage([]byte(body), Query{Page: tc.page})
		if err != nil || page.More != tc.more || (page.Suspicious != "") != (tc.suspicious != "") || !strings.Contains(page.Suspicious, tc.suspicious) {
			t.Errorf("%s behind page %d: more %t, %q %v", tc.next, tc.page, page.More, page.Suspicious, err)
		}
		if len(page.Suspicious) > 200 {
			t.Errorf("%d bytes go to the log", len(page.Suspicious))
		}
	}
}

// TestLinkWithoutThePortIsToldAsSuch: a proxy before the platform may drop it from the host.
func TestLinkWithoutThePortIsToldAsSuch(t *testing.T) {
	for base, want := range map[string]string{
		"http://127.0.0.1:18080/api": `it leads to port 80 of host "127.0.0.1", which is asked at port 18080`,
		"http://[::1]:18080/api":     `it leads to port 80 of host "::1", which is asked at port 18080`,
		"http://localhost/api":       "",
	} {
		c := client(t, base, nil)
		page, err := c.DecodePage([]byte(`{"data":[],"links":{"next":"http://`+strings.TrimSuffix(c.base.Host, ":18080")+`/api/sessions?page=2"}}`), Query{Page: 1})
		if err != nil || page.Suspicious != want {
			t.Errorf("%s: %q, %v; want %q", base, page.Suspicious, err, want)
		}
	}
}

// TestNoEndIsReadIntoMissingLinks: a full page without a next link is no end.
func TestNoEndIsReadIntoMissingLinks(t *testing.T) {
	records := func(n int) string {
		return strings.TrimSuffix(strings.Repeat(`{"id":"a","location_id":"l"},`, n), ",")
	}
	for _, links := range []string{``, `,"links":null`, `,"links":[]`, `,"links":"x"`, `,"links":{}`, `,"links":{"last":null}`} {
		for _, tc := range []struct {
			records, asked int
			meta           string
			more           bool
		}{
			{100, 100, ``, true}, {99, 100, ``, false}, {0, 100, ``, false}, {0, 0, ``, false},
			{10, 0, ``, true}, {9, 0, ``, false}, // the documented default
			{25, 100, `,"meta":{"per_page":25}`, true}, {24, 100, `,"meta":{"per_page":25}`, false},
		} {
			page := decode(t, `{"data":[`+records(tc.records)+`]`+links+tc.meta+`}`, Query{PerPage: tc.asked})
			if page.More != tc.more || page.Suspicious != "" {
				t.Errorf("%s, %d records of %d%s: more %t, %q", links, tc.records, tc.asked, tc.meta, page.More, page.Suspicious)
			}
		}
	}
	page := decode(t, `{"data":[`+records(100)+`],"links":{"next":null}}`, Query{PerPage: 100})
	if page.More {
		t.Error("a full last page counts as followed by another")
	}
}

func TestMetaIsReadAsNumberOrText(t *testing.T) {
	for _, tc := range []struct {
		meta            string
		perPage, number int
	}{
		{`{"per_page":100,"current_page":3}`, 100, 3}, {`{"per_page":"100","current_page":"3"}`, 100, 3},
		{`{"from":null,"per_page":null,"to":null,"new":[]}`, 0, 0}, {`{"per_page":-1,"current_page":0}`, 0, 0},
		{`{"per_page":99999999999999999999,"current_page":1e9}`, 0, 0}, {`{"per_page":[100],"current_page":{"a":1}}`, 0, 0},
		{`{"per_page":"many"}`, 0, 0}, {`null`, 0, 0}, {`[]`, 0, 0}, {`"x"`, 0, 0}, {`{}`, 0, 0},
	} {
		page := decode(t, `{"meta":`+tc.meta+`,"data":[]}`, Query{})
		if page.PerPage != tc.perPage || page.Number != tc.number {
			t.Errorf("%s: %d %d", tc.meta, page.PerPage, page.Number)
		}
	}
}
