package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/publisher"
)

func tailCommand() *cobra.Command {
	var (
		locations, kinds []string
		groups           []string
		since, until     string
		chosen           choice
		fromStart        bool
		asJSON           bool
		server           string
	)
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show the stream's events as they come, or replay them",
		Example: `  guestflow tail --kind started,ended
  guestflow tail --since 2h --location oWNe6XWDPLM --json
  guestflow tail --since 30d --session pR3zOK2aB --no-follow`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd)
			if err != nil {
				return err
			}
			subjects, err := events.NewSubjects(cfg.SubjectPrefix)
			if err != nil {
				return usageError(err.Error())
			}
			if chosen.limit < 0 {
				return usageError(fmt.Sprintf("--limit %d: use 1 or more", chosen.limit))
			}
			chosen.subjects = subjects
			consumer := &chosen.consumer
			consumer.Stream, consumer.Prefix, consumer.Locations = cfg.Stream, cfg.SubjectPrefix, locations
			if chosen.in, err = cfg.inGroups(groups); err != nil {
				return err
			}
			for _, k := range kinds {
				kind := events.Kind(k)
				if !kind.Valid() {
					return usageError(fmt.Sprintf("--kind %q: use %s", k, kindNames()))
				}
				consumer.Kinds = append(consumer.Kinds, kind)
			}
			if err := chosen.span(since, until, fromStart); err != nil {
				return err
			}
			conn, js, err := reachClient(cmd.Context(), cfg, server, readingRights(cfg))
			if err != nil {
				return err
			}
			defer conn.Close()
			show := newScreen(cmd.OutOrStdout()).event
			if asJSON {
				show = func(e events.Event) error { return showJSON(cmd.OutOrStdout(), e) }
			}
			chosen.none = func() { fmt.Fprintln(cmd.ErrOrStderr(), "guestflow: the stream holds no such event") }
			return chosen.run(cmd.Context(), js, show)
		},
	}
	c.Flags().StringSliceVar(&locations, "location", nil, "ids of locations (default all)")
	c.Flags().StringSliceVar(&groups, "group", nil, "ids of groups whose locations are shown (default all)")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "kinds of events: "+kindNames()+" (default all)")
	c.Flags().StringVar(&since, "since", "", "replay from a time (RFC 3339) or for a while back (2h, 7d)")
	c.Flags().StringVar(&until, "until", "", "end at a time, or a while back; without --since from the start")
	c.Flags().BoolVar(&chosen.noFollow, "no-follow", false, "end with the newest event; without --since from the start")
	c.Flags().IntVar(&chosen.limit, "limit", 0, "end after so many events (default no limit)")
	c.Flags().StringVar(&chosen.session, "session", "", "id of a session (default all)")
	c.Flags().BoolVar(&fromStart, "from-start", false, "replay everything that the stream holds")
	c.Flags().BoolVar(&asJSON, "json", false, "one CloudEvents document a line")
	c.Flags().StringVar(&server, "url", "", "NATS URL (default GUESTFLOW_NATS_URL, else the embedded server of a running guestflow)")
	c.MarkFlagsMutuallyExclusive("since", "from-start")
	return c
}

func kindNames() string {
	var names []string
	for _, k := range events.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// parseTime reads the value of a flag: a time, a day in UTC, or how long ago it was.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if d, err := parseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usageError(fmt.Sprintf("--%s %q: use a duration such as 2h, 7d or 1d12h, or a time such as 2026-01-31 or 2026-01-31T08:00:00Z", flag, text))
	}
	return at, nil
}

// parsePast is parseTime for what has happened: from a time to come on there is nothing,
// and waiting for it would look like a stream in which nothing happens.
func parsePast(flag, text string, now time.Time) (time.Time, error) {
	at, err := parseTime(flag, text, now)
	if err == nil && at.After(now) {
		err = usageError(fmt.Sprintf("--%s %s is in the future: nothing has happened there yet; use a time in the past", flag, text))
	}
	return at, err
}

// parseDuration is time.ParseDuration with days, of 24 hours.
func parseDuration(text string) (time.Duration, error) {
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, err
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	return d + more, err
}

// reachClient is connectClient for commands that a person waits for: it fails
// where no server takes the connection, or not all is permitted that it needs, and
// says why.
func reachClient(ctx context.Context, cfg Config, server string, rights []publisher.Right) (*nats.Conn, jetstream.JetStream, error) {
	conn, js, err := client(ctx, cfg, server, publisher.Reach)
	if errors.Is(err, publisher.ErrNoServer) && server == "" && cfg.NATSURL == "" {
		return nil, nil, fmt.Errorf("%w; without GUESTFLOW_NATS_URL that is the embedded server of guestflow run: start it", err)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := publisher.TryRights(ctx, conn, rights); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("NATS at %s: %w", hosts(clientURL(cfg, server)), err)
	}
	return conn, js, nil
}

// connectClient connects to the NATS server that a running guestflow uses, now or
// when it is there.
func connectClient(ctx context.Context, cfg Config, server string) (*nats.Conn, jetstream.JetStream, error) {
	return client(ctx, cfg, server, publisher.Connect)
}

func client(ctx context.Context, cfg Config, server string, connect func(context.Context, publisher.ConnectSettings) (*nats.Conn, error)) (*nats.Conn, jetstream.JetStream, error) {
	settings := connectSettings(cfg, slog.New(slog.DiscardHandler))
	settings.URL = clientURL(cfg, server)
	if server == "" {
		token, err := embeddedToken(cfg)
		if err != nil {
			return nil, nil, fmt.Errorf("token of the embedded NATS server: %w; run this as the user that guestflow runs as, or set GUESTFLOW_NATS_TOKEN", err)
		}
		settings.Token = token
	}
	conn, err := connect(ctx, settings)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("JetStream: %w", err)
	}
	return conn, js, nil
}

// clientURL is server, else the configured server, else the one that a running
// guestflow embeds.
func clientURL(cfg Config, server string) string {
	return cmp.Or(server, cfg.NATSURL, "nats://"+cfg.NATSListen)
}

// hosts are a URL, or several separated by commas, without user and password.
func hosts(urls string) string {
	var all []string
	for text := range strings.SplitSeq(urls, ",") {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			all = append(all, u.Host)
		}
	}
	return strings.Join(all, ",")
}

func showJSON(w io.Writer, e events.Event) error {
	b, err := events.Encode(e)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// describe says in words what changed.
func describe(e events.Event) string {
	s, d := &e.Data.Session, &e.Data
	switch e.Kind {
	case events.Started, events.Discovered, events.Resumed:
		who := ""
		if g := d.Guest; g != nil {
			who = cmp.Or(g.Name, g.Email, g.Username)
		}
		return strings.Join(nonEmpty(who, s.LoginType, s.DeviceDescription, "since "+s.StartedAt.Local().Format("15:04:05")), ", ")
	case events.Traffic:
		if d.Change != nil {
			return fmt.Sprintf("↓ %s  ↑ %s", size(d.Change.DownloadedBytes), size(d.Change.UploadedBytes))
		}
	case events.Updated:
		return changes(d.Previous, s)
	case events.Ended:
		return fmt.Sprintf("after %v, ↓ %s  ↑ %s (%s)", time.Duration(max(0, s.DurationSeconds))*time.Second, size(s.Downloaded.Value), size(s.Uploaded.Value), d.Observed.End)
	}
	return ""
}

func changes(p *events.Previous, s *events.Session) string {
	if p == nil {
		return ""
	}
	var parts []string
	for _, c := range []struct {
		name string
		was  *string
		is   string
	}{
		{"location", p.LocationID, s.LocationID}, {"IP", p.DeviceIP, s.DeviceIP}, {"MAC", p.DeviceMAC, s.DeviceMAC},
		{"profile", p.ServiceProfile, s.ServiceProfile}, {"login", p.LoginType, s.LoginType}, {"guest", p.GuestID, s.GuestID},
		{"device", p.DeviceDescription, s.DeviceDescription}, {"location name", p.LocationName, s.LocationName},
	} {
		if c.was != nil {
			parts = append(parts, fmt.Sprintf("%s %s → %s", c.name, *c.was, c.is))
		}
	}
	return strings.Join(parts, ", ")
}

func nonEmpty(parts ...string) []string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

func size(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if v < 1000 && v > -1000 {
			break
		}
		v, unit = v/1000, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
