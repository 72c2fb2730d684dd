package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/subject"
	"github.com/guestflow/guestflow/poller/platform"
)

func subjectCommand() *cobra.Command {
	c := &cobra.Command{Use: "subject", Short: "What is held of one person, for requests by the person"}
	c.AddCommand(subjectExportCommand(), subjectForgetCommand())
	return c
}

// asking are the flags that export and forget have in common.
type asking struct {
	guest, email, mac, account, out, server string
	platform                                bool
}

func subjectExportCommand() *cobra.Command {
	var a asking
	c := &cobra.Command{
		Use: "export", Short: "Write everything that the streams hold of one person, as JSON", Args: cobra.NoArgs,
		Long: `Looks through the streams of session events, visits, dead letters and skipped events,
and writes what holds something of the person: the messages themselves, what they say of
the person, and how many were found where. An event that names the person leads to all
of its session; one with the e-mail address to the guest id beside it; a device to
nobody else. Pseudonyms are found where GUESTFLOW_PRIVACY_KEY is set as it was. With
--platform the platform is asked, too, for all sessions of the person: up to 20
requests, one a second, out of the same limit that a running guestflow uses.

Beside what it writes there are the state file and checkpoints of a running guestflow
(the latest of the same sessions' events), receivers of webhooks, and backups.`,
		Example: "  guestflow subject export --guest ajKeDq4582W --platform --out ann.json\n  guestflow subject export --email ann@example.com",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.run(cmd) },
	}
	a.register(c)
	c.Flags().BoolVar(&a.platform, "platform", false, "ask the platform for the person's sessions, too")
	return c
}

// register adds the flags that say who is asked for, and where.
func (a *asking) register(c *cobra.Command) {
	c.Flags().StringVar(&a.guest, "guest", "", "the platform's id of the guest")
	c.Flags().StringVar(&a.email, "email", "", "e-mail address, in any case of letters")
	c.Flags().StringVar(&a.mac, "mac", "", "MAC address of a device, in any form")
	c.Flags().StringVar(&a.account, "account", "", "of this account only (default any)")
	c.Flags().StringVar(&a.out, "out", "", "file to write, for its owner alone (default standard output)")
	c.Flags().StringVar(&a.server, "url", "", "NATS URL (default GUESTFLOW_NATS_URL, else the embedded server of a running guestflow)")
	c.MarkFlagsOneRequired("guest", "email", "mac")
	c.MarkFlagsMutuallyExclusive("guest", "email", "mac")
}

// query is who is asked for, in every form that the streams may have.
func (a *asking) query(cfg Config) (subject.Query, error) {
	for _, value := range []*string{&a.guest, &a.email, &a.mac, &a.account} {
		*value = strings.TrimSpace(*value) // pasted along
	}
	q := subject.Query{Account: a.account}
	subjects, err := events.NewSubjects(cfg.SubjectPrefix)
	if err != nil {
		return q, usageError(err.Error())
	}
	q.Places = []subject.Place{
		{Stream: cfg.Stream, Subject: subjects.All(), Holds: subject.Events},
		{Stream: visits.DefaultStream, Subject: visits.Subjects{}.All(), Holds: subject.Visits},
		{Stream: webhook.DefaultDeadStream, Subject: webhook.DefaultDeadPrefix + ".*", Holds: subject.Letters},
		{Stream: webhook.DefaultSkippedStream, Subject: webhook.DefaultSkippedPrefix + ".*", Holds: subject.Skips},
	}
	kept, err := keptPlaces(cfg)
	if err != nil {
		return q, usageError(err.Error())
	}
	q.Places = append(q.Places, kept...)
	privacy := cfg.platform().Privacy
	switch {
	case a.guest+a.email+a.mac == "":
		return q, usageError("--guest, --email or --mac is empty: say who it is")
	case a.guest != "":
		q.Guests = []string{a.guest}
	case a.email != "":
		if !strings.Contains(a.email, "@") {
			return q, usageError(fmt.Sprintf("--email %q is no e-mail address", a.email))
		}
		q.Emails = privacy.Forms(a.email)
	default:
		mac, err := net.ParseMAC(a.mac)
		if err != nil {
			return q, usageError(fmt.Sprintf("--mac %q: use six pairs of digits such as 14:2d:27:e7:40:2b", a.mac))
		}
		q.MACs = privacy.Forms(mac.String())
	}
	return q, nil
}

// personal is what is written.
type personal struct {
	At    time.Time `json:"at"`
	Asked string    `json:"asked_for"`
	*subject.Found
	// Platform are the platform's own records of the person's sessions; absent where it was not
	// asked.
	Platform []events.Session `json:"platform,omitempty"`
	// Incomplete says why Platform may lack some.
	Incomplete string `json:"platform_incomplete,omitempty"`
}

func (a *asking) run(cmd *cobra.Command) error {
	cfg, err := configured(cmd)
	if err != nil {
		return err
	}
	q, err := a.query(cfg)
	if err != nil {
		return err
	}
	rights := readingRights(cfg)
	conn, js, err := reachClient(cmd.Context(), cfg, a.server, rights)
	if err != nil {
		return err
	}
	defer conn.Close()
	p := personal{At: time.Now().UTC(), Asked: a.guest + a.email + a.mac}
	if p.Found, err = subject.Find(cmd.Context(), js, q); err != nil {
		return err
	}
	if a.platform {
		if p.Platform, p.Incomplete, err = askPlatform(cmd.Context(), cfg, a.platformQueries(p.Found), q.MACs); err != nil {
			return err
		}
	}
	write := func(out io.Writer) error {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(p)
	}
	if a.out == "" {
		err = write(cmd.OutOrStdout())
	} else {
		err = whole(a.out, write)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "guestflow: "+p.inWords())
	return nil
}

func (p *personal) inWords() string {
	var parts []string
	for _, c := range p.Places {
		if c.Messages > 0 {
			parts = append(parts, fmt.Sprintf("%d %s in %s", c.Messages, c.Holds, c.Stream))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing in the streams")
	}
	text := fmt.Sprintf("%s; %d sessions", strings.Join(parts, ", "), len(p.Sessions))
	if p.Platform != nil {
		text += fmt.Sprintf("; %d of the platform", len(p.Platform))
	}
	if p.Incomplete != "" {
		text += "; " + p.Incomplete
	}
	return text
}

// mostAsked is how many requests the platform gets: a running guestflow needs the rest.
const mostAsked = 20

// platformQueries are what to ask the platform: for the person alone, not for others who
// had the device.
func (a *asking) platformQueries(f *subject.Found) (all []platform.Query) {
	switch {
	case a.guest != "":
		return []platform.Query{{GuestID: a.guest}}
	case a.mac != "":
		mac, _ := net.ParseMAC(a.mac) // query has checked it
		return []platform.Query{{DeviceMAC: mac.String()}}
	}
	for _, id := range f.Guests {
		all = append(all, platform.Query{GuestID: id.ID})
	}
	return all
}

// askPlatform reads the platform's sessions. macs are the forms of the device that is
// asked for. incomplete says why some sessions may be missing.
func askPlatform(ctx context.Context, cfg Config, queries []platform.Query, macs []string) (all []events.Session, incomplete string, err error) {
	if cfg.APIURL == "" {
		return nil, "", usageError("--platform: set GUESTFLOW_API_URL and the token, as for guestflow run")
	}
	client, err := cfg.client(false)
	if err != nil {
		return nil, "", err
	}
	all = []events.Session{}
	asked := 0
	for _, q := range queries {
		for more := true; more; {
			if asked == mostAsked {
				return all, fmt.Sprintf("the platform has more: only %d requests are sent at a time", mostAsked), nil
			}
			if asked > 0 && !rested(ctx, time.Second) {
				return nil, "", ctx.Err()
			}
			asked++
			q.PerPage, q.Page = 100, q.Page+1
			p, err := client.Sessions(ctx, q)
			if err != nil {
				return nil, "", fmt.Errorf("the platform's sessions of the person: %w", err)
			}
			// A filter that the platform does not know lists everybody.
			if slices.ContainsFunc(p.Sessions, func(s events.Session) bool {
				return q.GuestID != "" && s.GuestID != q.GuestID || q.DeviceMAC != "" && s.DeviceMAC != "" && !slices.Contains(macs, s.DeviceMAC)
			}) {
				return nil, "", errors.New("the platform answers with sessions of others, so it does not know the filter; leave --platform out")
			}
			all = append(all, p.Sessions...)
			if len(p.Skipped) > 0 {
				incomplete = "some records of the platform cannot be read"
			}
			more = p.More && p.Records > 0
		}
	}
	return all, incomplete, nil
}

// rested waits; false where ctx ended first.
func rested(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
