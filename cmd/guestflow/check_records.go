package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

// checkRecords tells what could be read of the fields of a page's records, and what
// could not. It fails where a field that is there could be read in no record. Of is put before each line.
func checkRecords(out io.Writer, of string, page platform.Page) (failed int) {
	say := func(level, format string, args ...any) {
		fmt.Fprintf(out, "%-5s %srecords: %s\n", level, of, fmt.Sprintf(format, args...))
	}
	if page.Records == 0 {
		say("ok", "nobody is online, so there is nothing to read")
		return 0
	}
	for reason, n := range skipped(page) {
		say("WARN", "%d of %d left out: %s; they may stand for sessions that are online, of which no end is told meanwhile", n, page.Records, reason)
	}
	var found []string
	wrong := make(map[string]platform.Unread)
	for _, u := range page.Unread {
		wrong[u.Field] = u
	}
	for _, f := range []struct {
		name string
		read func(*events.Session) bool
	}{
		{"downloaded_data", func(s *events.Session) bool { return s.Downloaded.Known() }},
		{"uploaded_data", func(s *events.Session) bool { return s.Uploaded.Known() }},
		{"start_time", func(s *events.Session) bool { return !s.StartedAt.IsZero() }},
		{"total_duration", func(s *events.Session) bool { return s.DurationSeconds != events.UnknownSeconds }},
	} {
		read := 0
		for i := range page.Sessions {
			if f.read(&page.Sessions[i]) {
				read++
			}
		}
		u, bad := wrong[f.name]
		delete(wrong, f.name)
		text := fmt.Sprintf("%s: %d of %d could be read, not %s; %s", f.name, read, len(page.Sessions), u.Sample, u.Remedy())
		switch {
		case bad && read == 0 && !u.Blank():
			say("FAIL", "%s", text)
			failed = 1
		case bad:
			say("WARN", "%s", text)
			found = append(found, fmt.Sprintf("%s %d of %d", f.name, read, len(page.Sessions)))
		case read == 0:
			say("WARN", "%s: no record has it", f.name)
		default:
			found = append(found, fmt.Sprintf("%s %d of %d", f.name, read, len(page.Sessions)))
		}
	}
	for _, u := range page.Unread {
		if _, open := wrong[u.Field]; open {
			say("WARN", "%s: %d of %d cannot be read, for instance %s; %s", u.Field, u.Count, page.Records, u.Sample, u.Remedy())
		}
	}
	if page.Zone != "" {
		found = append(found, "times that name no zone are those of "+page.Zone)
	}
	if failed == 0 {
		say("ok", "%s", strings.Join(found, ", "))
	}
	return failed
}

// skipped counts the records that were left out by what is wrong with them.
func skipped(page platform.Page) map[string]int {
	reasons := make(map[string]int)
	for _, s := range page.Skipped {
		reasons[s.Reason]++
	}
	return reasons
}
