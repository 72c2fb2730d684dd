package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/consumers/visit"
	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/subject"
)

func subjectForgetCommand() *cobra.Command {
	f := forgetting{}
	c := &cobra.Command{
		Use: "forget", Short: "Erase one person everywhere, and keep the platform from bringing them back", Args: cobra.NoArgs,
		Long: `Erases every trace of one person: puts them on a list of keyed hashes (stream
GUEST_FORGOTTEN), has every running guestflow take them out of its state files, checkpoints
and memory, deletes their events, visits, dead letters and skipped events, and overwrites
them. From then on their sessions are counted without a name: no guest, MAC, IP, access
code. CRMs can follow: webhooks with stream: forgotten get whom to forget, signed.

An event that names the person leads to all of its session; what names no guest but a
device that nobody else was seen with is the person's, too. A device that others had as
well is left to them, unless it is asked for by --mac.

Needs GUESTFLOW_PRIVACY_KEY, 16 characters or more, the same as that of guestflow run: keep
it, since without it nobody on the list is known any more. That of the demo is
guestflow-demo-key. The report tells how much was found where, names nobody, and says what
could not be reached. Without --yes it only tells what it would do.`,
		Example: "  guestflow subject forget --guest ajKeDq4582W          # only tells what it would erase\n  guestflow subject forget --guest ajKeDq4582W --yes",
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.asking.register(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do it: what is erased cannot be brought back")
	c.Flags().DurationVar(&f.wait, "wait", time.Minute, "how long to wait for each running guestflow to confirm")
	return c
}

// forgetting is one request to forget a person.
type forgetting struct {
	asking
	yes  bool
	wait time.Duration

	cfg    Config
	js     jetstream.JetStream
	list   *forgotten.List
	id     string
	report forgetReport
}

// forgetReport says what was done, and names nobody.
type forgetReport struct {
	ID string    `json:"id"` // of the request
	At time.Time `json:"at"`
	// Erased is false where it was only asked what would be.
	Erased   bool            `json:"erased"`
	Sessions int             `json:"sessions"`
	Visits   int             `json:"visits"`
	Found    []subject.Count `json:"found"`
	Deleted  map[string]int  `json:"deleted,omitempty"` // messages, by stream
	// Confirmed and Unconfirmed are the places of running guestflows.
	Confirmed   []string `json:"confirmed,omitempty"`
	Unconfirmed []string `json:"unconfirmed,omitempty"`
	// Checkpoints are those of services that did not run, and were erased by the command.
	Checkpoints []string `json:"checkpoints,omitempty"`
	// Unreached says where something of the person may be that cannot be erased from here.
	Unreached []string `json:"unreached,omitempty"`
}

func (f *forgetting) run(cmd *cobra.Command) error {
	var err error
	if f.cfg, err = configured(cmd); err != nil {
		return err
	}
	if err := f.forget(cmd.Context()); err != nil {
		return err
	}
	return f.tell(cmd)
}

// forget finds the person, erases them where that is asked for, and fills in the report.
func (f *forgetting) forget(ctx context.Context) error {
	if len(f.cfg.PrivacyKey) < 16 {
		return usageError("GUESTFLOW_PRIVACY_KEY is needed, 16 characters or more, the same as that of guestflow run: people are forgotten by keyed hashes; `openssl rand -hex 32` makes one")
	}
	q, err := f.query(f.cfg)
	if err != nil {
		return err
	}
	q.Widen = true
	conn, js, err := reachClient(ctx, f.cfg, f.server, readingRights(f.cfg))
	if err != nil {
		return err
	}
	defer conn.Close()
	f.js, f.list, f.id = js, forgotten.NewList(f.cfg.PrivacyKey), nuid.Next()
	found, err := subject.Find(ctx, js, q)
	if err != nil {
		return err
	}
	if err := f.knownKey(ctx); err != nil {
		return err
	}
	f.report = forgetReport{ID: f.id, At: time.Now().UTC(), Sessions: len(found.Sessions), Visits: len(found.Visits), Found: found.Places}
	if !f.yes {
		return nil
	}
	if f.out != "" { // a report that cannot be written is noticed while nothing is erased
		if err := whole(f.out, f.write); err != nil {
			return err
		}
	}
	if err := f.erase(ctx, q, found); err != nil {
		return fmt.Errorf("%w; what was done stays done: run it again", err)
	}
	return nil
}

// knownKey makes sure that the key is that of the list, where there is one, and of each
// guestflow which follows it.
func (f *forgetting) knownKey(ctx context.Context) error {
	stream, err := f.js.Stream(ctx, forgotten.DefaultStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", forgotten.DefaultStream, err)
	}
	marks, err := readMarks(ctx, stream)
	if err != nil {
		return err
	}
	if f.list.Add(marks); !f.list.Readable() {
		return errors.New("GUESTFLOW_PRIVACY_KEY is not the one by which people were forgotten before; set it as it was")
	}
	return f.sameKeys(ctx, stream)
}

// erase does it.
func (f *forgetting) erase(ctx context.Context, q subject.Query, found *subject.Found) error {
	stream, err := forgottenStream(ctx, f.js, &f.cfg)
	if err != nil {
		return err
	}
	at, err := f.enlist(ctx, q, found, found.Erasure())
	if err != nil {
		return err
	}
	if err := f.announce(ctx, q, found); err != nil {
		return err
	}
	if err := f.confirmed(ctx, stream, at); err != nil {
		return err
	}
	if _, err := forgetIn(f.cfg.DataDir, f.list, nil); err != nil {
		return err
	}
	if err := f.deleteAll(ctx, q, found); err != nil {
		return err
	}
	f.report.Erased = true
	return errors.Join(f.checkpoints(ctx), f.unreached(ctx))
}

// mostRounds bounds how often is looked for what came while it was being erased.
const mostRounds = 5

// deleteAll deletes messages, then those that came meanwhile, until none comes.
func (f *forgetting) deleteAll(ctx context.Context, q subject.Query, found *subject.Found) error {
	f.report.Deleted = map[string]int{}
	for range mostRounds {
		deleted, err := subject.Erase(ctx, f.js, found.Erasure())
		for stream, n := range deleted {
			f.report.Deleted[stream] += n
		}
		if err != nil {
			return err
		}
		q.Guests, q.MACs, q.Emails = f.wider(q, found)
		read := maps.Clone(found.Read)
		q.After = read
		next, err := subject.Find(ctx, f.js, q)
		if err != nil {
			return err
		}
		for stream, n := range next.Read {
			read[stream] = n
		}
		next.Read = read
		if found = next; len(found.Messages) == 0 {
			return nil
		}
		if _, err := f.enlist(ctx, q, found, found.Erasure()); err != nil {
			return err
		}
	}
	return errors.New("events of the person go on coming: a guestflow that does not follow the list publishes them")
}

// wider are the forms of the person after what was found.
func (f *forgetting) wider(q subject.Query, found *subject.Found) (guests, macs, emails []string) {
	join := func(a, b []string) []string { return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b)))) }
	var ids []string
	for _, g := range found.Guests {
		ids = append(ids, g.ID)
	}
	return join(q.Guests, ids), join(q.MACs, found.Own), join(q.Emails, found.Known.Emails)
}

// known leaves out those forms of what was asked for, but for the first, that nothing has
// which was found: nobody can know them.
func known(all, forms, found []string) []string {
	return slices.DeleteFunc(all, func(v string) bool {
		i := slices.Index(forms, v)
		return i > 0 && !slices.Contains(found, v)
	})
}

// sameKeys makes sure that each guestflow which follows the list has the same key.
func (f *forgetting) sameKeys(ctx context.Context, stream jetstream.Stream) error {
	places, err := appliedPlaces(ctx, stream)
	if err != nil {
		return err
	}
	for _, p := range places {
		if p.Config.Metadata[appliedKey] != forgotten.KeyMark(f.cfg.PrivacyKey) {
			return fmt.Errorf("%s has another GUESTFLOW_PRIVACY_KEY, or none: set the same there, and restart it", placeInWords(p))
		}
	}
	return nil
}

// enlist puts the person on the list, with what is about to be erased, and returns the
// entry's sequence.
func (f *forgetting) enlist(ctx context.Context, q subject.Query, found *subject.Found, erased []forgotten.Erased) (uint64, error) {
	marks := f.marks(q, found)
	f.list.Add(marks)
	// Bounded messages: a person may have very many events.
	var last uint64
	for first := true; first || len(erased) > 0; first = false {
		e := forgotten.Entry{ID: f.id, At: f.report.At, Marks: marks}
		if len(erased) > 0 {
			n := min(len(erased[0].Sequences), mostSequences)
			e.Erased = []forgotten.Erased{{Stream: erased[0].Stream, Created: erased[0].Created, Sequences: erased[0].Sequences[:n]}}
			if erased[0].Sequences = erased[0].Sequences[n:]; len(erased[0].Sequences) == 0 {
				erased = erased[1:]
			}
		}
		body, err := json.Marshal(e)
		if err != nil {
			return 0, err
		}
		ack, err := f.js.Publish(ctx, forgotten.ListSubject, body)
		if err != nil {
			return 0, fmt.Errorf("stream %s: %w", forgotten.DefaultStream, err)
		}
		last, marks = ack.Sequence, []string{forgotten.KeyMark(f.cfg.PrivacyKey)}
	}
	return last, nil
}

// mostSequences are told of in one entry.
const mostSequences = 20_000

// marks are those of all that names the person.
func (f *forgetting) marks(q subject.Query, found *subject.Found) []string {
	key, account := f.cfg.PrivacyKey, f.account
	all := []string{forgotten.KeyMark(key)}
	add := func(k forgotten.Kind, account string, values ...string) {
		for _, v := range values {
			all = append(all, forgotten.Mark(key, k, account, v))
		}
	}
	guests, macs, emails := f.wider(q, found)
	add(forgotten.GuestID, account, guests...)
	add(forgotten.MAC, account, macs...)
	add(forgotten.Email, account, emails...)
	for _, s := range found.Sessions {
		add(forgotten.Session, s.Account, s.ID)
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// announcedFor is how long the event stays in the stream for webhooks that do not take it.
const announcedFor = 30 * 24 * time.Hour

// announce tells followers whom to forget.
func (f *forgetting) announce(ctx context.Context, q subject.Query, found *subject.Found) error {
	p := forgotten.Person{}
	p.GuestIDs, p.DeviceMACs, p.Emails = f.wider(q, found)
	p.DeviceMACs, p.Emails = known(p.DeviceMACs, q.MACs, found.Known.DeviceMACs), known(p.Emails, q.Emails, found.Known.Emails)
	for _, s := range found.Sessions {
		p.SessionIDs = append(p.SessionIDs, s.ID)
	}
	for _, v := range found.Visits {
		p.VisitIDs = append(p.VisitIDs, v.ID)
	}
	sealed, err := forgotten.Seal(f.cfg.PrivacyKey, p)
	if err != nil {
		return err
	}
	body, err := forgotten.Encode(forgotten.Event{ID: f.id, Time: f.report.At, Account: f.account, Data: forgotten.Data{Sealed: sealed}})
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: forgotten.GuestSubject, Data: body, Header: nats.Header{
		jetstream.MsgIDHeader: {f.id}, "Content-Type": {events.ContentType}, jetstream.MsgTTLHeader: {strconv.Itoa(int(announcedFor/time.Second)) + "s"},
	}}
	if _, err := f.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("stream %s: %w", forgotten.DefaultStream, err)
	}
	return nil
}

// confirmed waits until each running guestflow has forgotten the person.
func (f *forgetting) confirmed(ctx context.Context, stream jetstream.Stream, at uint64) error {
	deadline := time.Now().Add(f.wait)
	for {
		places, err := appliedPlaces(ctx, stream)
		if err != nil {
			return err
		}
		f.report.Confirmed, f.report.Unconfirmed = nil, nil
		waiting := false
		for _, p := range places {
			if p.NumPending == 0 && p.NumAckPending == 0 && p.Delivered.Stream >= at {
				f.report.Confirmed = append(f.report.Confirmed, placeInWords(p))
				continue
			}
			f.report.Unconfirmed = append(f.report.Unconfirmed, placeInWords(p))
			waiting = true
		}
		if !waiting || time.Now().After(deadline) {
			return nil
		}
		if !rested(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// appliedPlaces are the consumers by which each guestflow confirms.
func appliedPlaces(ctx context.Context, stream jetstream.Stream) (places []*jetstream.ConsumerInfo, err error) {
	all := stream.ListConsumers(ctx)
	for info := range all.Info() {
		if strings.HasPrefix(info.Name, appliedPrefix) {
			places = append(places, info)
		}
	}
	slices.SortFunc(places, func(a, b *jetstream.ConsumerInfo) int { return strings.Compare(a.Name, b.Name) })
	return places, all.Err()
}

func placeInWords(p *jetstream.ConsumerInfo) string {
	where := "guestflow on " + p.Config.Metadata[appliedHost]
	if dir := p.Config.Metadata[appliedDir]; dir != "" {
		return where + ", data directory " + dir
	}
	return where + ", " + strings.TrimPrefix(p.Name, appliedPrefix)
}

// checkpoints erases the person from the checkpoints of services that do not run.
func (f *forgetting) checkpoints(ctx context.Context) error {
	o := occupancySettings(f.cfg, newLogger(io.Discard, f.cfg), nil, nil)
	o.Forgotten = f.list
	changed, err := occupancy.ForgetSaved(ctx, f.js, o)
	if err != nil {
		return err
	}
	if changed {
		f.report.Checkpoints = append(f.report.Checkpoints, "occupancy")
	}
	v := visitSettings(f.cfg, newLogger(io.Discard, f.cfg))
	v.Forgotten = f.list
	changed, err = visit.ForgetSaved(ctx, f.js, v)
	if changed {
		f.report.Checkpoints = append(f.report.Checkpoints, "visits")
	}
	return err
}

// unreached notes where the person may be known still.
func (f *forgetting) unreached(ctx context.Context) error {
	for _, name := range []string{f.cfg.Stream, visits.DefaultStream} {
		stream, err := f.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		all := stream.ListConsumers(ctx)
		for c := range all.Info() {
			if c.Config.Durable == "" {
				continue
			}
			what := "reader " + c.Name + " of stream " + name
			if endpoint, ok := strings.CutPrefix(c.Name, webhook.Durable("")); ok {
				what = "receiver of webhook " + endpoint + " (stream " + name + ")"
			}
			f.report.Unreached = append(f.report.Unreached, what+": may have got events of the person before")
		}
		if err := all.Err(); err != nil {
			return err
		}
	}
	f.report.Unreached = append(f.report.Unreached, "backups of state files and of NATS, files that were exported, and the platform itself")
	return nil
}

func (f *forgetting) write(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(f.report)
}

// tell writes the report, and says what came of it.
func (f *forgetting) tell(cmd *cobra.Command) error {
	var err error
	if f.out == "" {
		err = f.write(cmd.OutOrStdout())
	} else {
		err = whole(f.out, f.write)
	}
	if err != nil {
		return err
	}
	n := 0
	for _, c := range f.report.Found {
		n += c.Messages
	}
	switch {
	case !f.yes:
		fmt.Fprintf(cmd.ErrOrStderr(), "guestflow: %d messages of %d sessions would be erased, and nothing was; with --yes they are\n", n, f.report.Sessions)
		return nil
	case len(f.report.Unconfirmed) > 0:
		return fmt.Errorf("erased, but not confirmed by %s: see why in its log; where it does not run, it forgets when it starts, before it polls", strings.Join(f.report.Unconfirmed, "; "))
	}
	deleted := 0
	for _, n := range f.report.Deleted {
		deleted += n
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "guestflow: forgotten: %d messages of %d sessions erased, confirmed by %d running\n", deleted, f.report.Sessions, len(f.report.Confirmed))
	return nil
}
