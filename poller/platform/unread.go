package platform

import (
	"cmp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Unread is a field that records have and that could not be read: its value is
// absent from events. Figures, times, durations and the status are counted, also
// where the platform writes null or nothing; texts are taken as they are.
type Unread struct {
	// Field is the platform's name.
	Field string
	// Sample is the first value that could not be read, clipped.
	Sample string
	// Count is in how many records.
	Count int
}

// The fields that are counted.
const (
	downloadedName  = "downloaded_data"
	uploadedName    = "uploaded_data"
	durationName    = "total_duration"
	startName       = "start_time"
	endName         = "end_time"
	statusName      = "connection_status"
	statusValueName = "connection_status_value"
)

// Blank reports whether the platform tells nothing: null, or an empty text.
func (u Unread) Blank() bool { return u.Sample == "null" || u.Sample == `""` }

// Remedy says what can be done, in words for a person.
func (u Unread) Remedy() string {
	switch m, err := parseMoment(u.Sample); {
	case u.Blank():
		return "the platform leaves it empty"
	case (u.Field == startName || u.Field == endName) && err == nil && m.local:
		return "it names no zone: set GUESTFLOW_API_TIME_ZONE to that of the platform's times, for instance Europe/Istanbul"
	case u.Field == startName, u.Field == endName:
		return "times such as 2026-03-01T20:30:00+00:00 or 2026-03-01 20:30:00 are read; ask the platform for these, and report this form"
	case u.Field == durationName:
		return "durations such as 26:03:04, 1 day, 2:03:04 or PT5M are read; report this form"
	case u.Field == statusName, u.Field == statusValueName:
		return "1 and 0 are read, and Online and Offline; what the request asked for is taken instead"
	}
	return "figures such as 3.34 MB or 3,34 MB are read; report this form"
}

// tally counts fields that cannot be read.
type tally []Unread

func (t *tally) add(field, sample string, count int) {
	for i := range *t {
		if u := &(*t)[i]; u.Field == field {
			u.Count += count
			return
		}
	}
	*t = append(*t, Unread{Field: field, Sample: sample, Count: count})
}

// sampleOf returns a value as it is shown to people. What looks like an address is
// masked: a field that holds something else than it should may hold anything.
func sampleOf(v jsontext.Value) string {
	switch v.Kind() {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		s := clipped(text(v))
		if s == "" {
			return `""`
		}
		if strings.Contains(s, "@") {
			return "a text with @"
		}
		return s
	}
	return clipped(string(v))
}

// Unreadable returns what could not be read since the client was made, by field.
func (c *Client) Unreadable() []Unread {
	c.seen.Lock()
	defer c.seen.Unlock()
	all := slices.Clone(c.seen.unread)
	slices.SortFunc(all, func(a, b Unread) int { return cmp.Compare(a.Field, b.Field) })
	return all
}

// Skipped returns how many records were left out since the client was made.
func (c *Client) Skipped() int {
	c.seen.Lock()
	defer c.seen.Unlock()
	return c.seen.skipped
}

// count adds what a page could not read to the totals, and says of each field once
// that it cannot be read.
func (c *Client) count(page *Page) {
	var news []Unread
	c.seen.Lock()
	c.seen.skipped += len(page.Skipped)
	for _, u := range page.Unread {
		before := len(c.seen.unread)
		c.seen.unread.add(u.Field, u.Sample, u.Count)
		if len(c.seen.unread) > before {
			news = append(news, u)
		}
	}
	c.seen.Unlock()
	for _, u := range news {
		c.cfg.Logger.Warn("a field of the platform's records cannot be read, so events leave it out",
			"field", u.Field, "sample", u.Sample, "records", u.Count, "of", page.Records, "remedy", u.Remedy())
	}
}
