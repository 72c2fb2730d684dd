package events

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTokenDecodesToWhatWasEncoded(t *testing.T) {
	for _, c := range []struct{ text, token string }{
		{"", "%"},
		{"oWNe6XWDPLM", "oWNe6XWDPLM"},
		{"a.b", "a%2Eb"},
		{"*", "%2A"},
		{">", "%3E"},
		{"%", "%25"},
		{"a b\t\x00", "a%20b%09%00"},
		{"Café", "Caf%C3%A9"},
		{"\xff\x7f", "%FF%7F"},
		{"$SYS", "$SYS"},
	} {
		token := EncodeToken(c.text).String()
		if token != c.token {
			t.Errorf("%q became %q, want %q", c.text, token, c.token)
		}
		if text, err := DecodeToken(token); err != nil || text != c.text {
			t.Errorf("%q decoded to %q (error %v), want %q", token, text, err, c.text)
		}
	}
}

func TestTokensOfDifferentTextsDiffer(t *testing.T) {
	texts := rapid.OneOf(genText(), rapid.StringMatching(`[%.*> 2EeA-C]{0,6}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := texts.Draw(t, "a"), texts.Draw(t, "b")
		if same := EncodeToken(a) == EncodeToken(b); same != (a == b) {
			t.Fatalf("%q and %q became %q and %q", a, b, EncodeToken(a), EncodeToken(b))
		}
	})
}

func TestDecodeTokenRefusesWhatWasNotEncoded(t *testing.T) {
	for _, token := range []string{
		"", "a.b", "*", ">", "a b", "é", "\x00", "%2", "%%", "a%", "%2e", "%zz", "%41", "%25%", "%2E%2",
	} {
		if text, err := DecodeToken(token); !errors.Is(err, ErrToken) || text != "" {
			t.Errorf("%q decoded to %q (error %v), want ErrToken", token, text, err)
		}
	}
}

// FuzzDecodeToken: whatever is accepted is exactly what EncodeToken makes.
func FuzzDecodeToken(f *testing.F) {
	for _, s := range []string{"", "%", "%2E", "%41", "a.b", "Caf%C3%A9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		text, err := DecodeToken(token)
		if err == nil && EncodeToken(text).String() != token {
			t.Fatalf("%q decoded to %q, which encodes to %q", token, text, EncodeToken(text))
		}
		if back, err := DecodeToken(EncodeToken(token).String()); err != nil || back != token {
			t.Fatalf("%q came back as %q (error %v)", token, back, err)
		}
	})
}

func TestSubjectParsesToWhatItWasMadeOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subjects, err := NewSubjects(rapid.SampledFrom([]string{"", "guest.sessions", "a", "x-1.y_2.z"}).Draw(t, "prefix"))
		if err != nil {
			t.Fatal(err)
		}
		e := genEvent().Draw(t, "event")
		account, location, kind, err := subjects.Parse(subjects.Of(e))
		if err != nil || account != e.Account || location != e.Data.Session.LocationID || kind != e.Kind {
			t.Fatalf("%q parsed to %q, %q, %q (error %v)", subjects.Of(e), account, location, kind, err)
		}
	})
}

func TestParseRefusesOtherSubjects(t *testing.T) {
	var subjects Subjects
	for _, subject := range []string{
		"", "guest.sessions", "guest.sessions.", "guest.sessions.a.b", "guest.sessions.a.b.started.x", "guest.sessionsa.b.started",
		"other.sessions.a.b.started", "guest.sessions.a.b.merged", "guest.sessions..b.started", "guest.sessions.a.%41.started",
		"guest.sessions.a.*.started",
	} {
		if account, location, kind, err := subjects.Parse(subject); err == nil {
			t.Errorf("%q parsed to %q, %q, %q", subject, account, location, kind)
		}
	}
}

// FuzzSubject: a subject that parses is exactly the one that Of builds.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{"guest.sessions.a.b.started", "guest.sessions.%.%2E.ended", "guest.sessions.a.b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		account, location, kind, err := Subjects{}.Parse(subject)
		if err != nil {
			return
		}
		e := Event{Account: account, Kind: kind, Data: Data{Session: Session{LocationID: location}}}
		if built := (Subjects{}).Of(e); built != subject {
			t.Fatalf("%q parsed to what builds %q", subject, built)
		}
	})
}

func TestPrefixIsChecked(t *testing.T) {
	for _, prefix := range []string{".", "a.", ".a", "a..b", "*", "a.>", "a b", "$JS.x", "a.$x", "é", "a%"} {
		if _, err := NewSubjects(prefix); err == nil || !strings.Contains(err.Error(), "use letters") {
			t.Errorf("prefix %q: error %v, want one that says what to use", prefix, err)
		}
	}
	if s, err := NewSubjects(""); err != nil || s.Prefix() != DefaultPrefix || (Subjects{}).Prefix() != DefaultPrefix {
		t.Errorf("the empty prefix is %q (error %v), want %q", s.Prefix(), err, DefaultPrefix)
	}
}

func TestFiltersMatchWhatTheySay(t *testing.T) {
	s, err := NewSubjects("g")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{s.All(), "g.*.*.*"},
		{s.AccountFilter("my.hotel"), "g.my%2Ehotel.*.*"},
		{s.Filter("", "", ""), "g.*.*.*"},
		{s.Filter("a", "", Ended), "g.a.*.ended"},
		{s.Filter("", "b*", ""), "g.*.b%2A.*"},
	} {
		if c.got != c.want {
			t.Errorf("filter %q, want %q", c.got, c.want)
		}
	}
}
