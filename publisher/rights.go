package publisher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrPermission: the server knows the user and does not permit something.
var ErrPermission = errors.New("the server does not permit it")

// Right is one that a user of the server needs.
type Right struct {
	// Subject to publish to, with wildcards.
	Subject string
	// For says what for, in words.
	For string
}

// rightsWait bounds the trial of one right.
const rightsWait = 5 * time.Second

// tried stands for the wildcards of a subject in a trial. Nothing bears the name.
const tried = "guestflow-check"

// TryRights tries every right, and to subscribe for answers, and returns an error
// for each that is missing, ErrPermission with its subject. Trials change nothing:
// streams refuse them, since they are meant for another, and JetStream does, since
// they ask for a level of its API that none has; a server before 2.12 does not know
// that, warns in its log, and refuses them since they hold no request.
func TryRights(ctx context.Context, nc *nats.Conn, rights []Right) error {
	var errs []error
	sub, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	wait, cancel := context.WithTimeout(ctx, rightsWait)
	defer cancel()
	if err := denied(wait, nc, sub.Subject); err != nil {
		errs = append(errs, missing("subscribe to", "_INBOX.>", "answers", err))
	}
	for _, r := range rights {
		err := try(ctx, nc, r)
		errs = append(errs, err)
		if err != nil && !errors.Is(err, ErrPermission) {
			break // the server says nothing, of the others neither
		}
	}
	return errors.Join(errs...)
}

// permitted tries to send a JetStream request. Without that right the request
// itself would wait for its answer in vain.
func permitted(ctx context.Context, js jetstream.JetStream, request, what string) error {
	return try(ctx, js.Conn(), Right{api(js, request), what})
}

func try(ctx context.Context, nc *nats.Conn, r Right) error {
	ctx, cancel := context.WithTimeout(ctx, rightsWait)
	defer cancel()
	m := nats.NewMsg(strings.NewReplacer("*", tried, ">", tried).Replace(r.Subject))
	m.Header.Set(jetstream.ExpectedStreamHeader, tried)
	m.Header.Set("Nats-Required-Api-Level", tried) // no number, so no server reaches it
	// JSON that ends too soon, since an empty request to purge or delete is one. That to make
	// a consumer is decoded before the level is looked at, and is refused for its stream.
	m.Data = []byte("{")
	if strings.Contains(m.Subject, ".CONSUMER.CREATE.") {
		m.Data = []byte(`{"stream_name":"` + tried + `"}`)
	}
	if err := nc.PublishMsg(m); err != nil {
		return missing("publish to", r.Subject, r.For, err)
	}
	if err := denied(ctx, nc, m.Subject); err != nil {
		return missing("publish to", r.Subject, r.For, err)
	}
	return nil
}

// denied waits for what the server says of the subject that was just used.
func denied(ctx context.Context, nc *nats.Conn, subject string) error {
	if err := nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := violation(nc); err != nil && strings.Contains(err.Error(), `"`+subject+`"`) {
		return err
	}
	return nil
}

func missing(doing, subject, what string, err error) error {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%s %s (%s): %w", doing, subject, what, err)
	}
	return fmt.Errorf("%s %s (%s): %w; permit the user to %s %s", doing, subject, what, ErrPermission, doing, subject)
}

// violation is what the server last forbade the connection: it does not answer
// what it forbids.
func violation(nc *nats.Conn) error {
	if last := nc.LastError(); errors.Is(last, nats.ErrPermissionViolation) {
		return last
	}
	return nil
}
