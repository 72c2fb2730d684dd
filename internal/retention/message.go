package retention

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

// HeaderCopied says of which message a copy was made: when its stream was made, and its
// sequence there.
const HeaderCopied = "Guestflow-Copied"

// slack is how much longer than the policy says a message may stay in a copy: only what was
// longer in coming there bears a time of its own.
const slack = time.Minute

// message is what is published of one, nil for none.
func (c *copying) message(msg jetstream.Msg, meta *jetstream.MsgMetadata) *nats.Msg {
	subject, id, body, err := c.stripped(msg.Data())
	if err != nil {
		c.settings.Log.Warn("retention: a message is no event, and not copied", "stream", c.source.Stream, "sequence", meta.Sequence.Stream, "error", err)
		return nil
	}
	h := nats.Header{}
	h.Set(jetstream.MsgIDHeader, id)
	h.Set("Content-Type", events.ContentType)
	h.Set(HeaderCopied, strconv.FormatInt(c.created.UnixNano(), 10)+" "+strconv.FormatUint(meta.Sequence.Stream, 10))
	if old := time.Since(meta.Timestamp); c.copy.Age > 0 && old > slack {
		left := c.copy.Age - old
		if left < time.Second { // the least that a message may be kept
			return nil
		}
		h.Set(jetstream.MsgTTLHeader, strconv.Itoa(int(left/time.Second))+"s")
	}
	return &nats.Msg{Subject: subject, Header: h, Data: body}
}

// stripped is an event without the fields, and without whom the list of who is forgotten
// has; its id is also that of the message.
func (c *copying) stripped(body []byte) (subject, id string, _ []byte, err error) {
	prefix := c.copy.Prefix(c.source.Prefix)
	if c.source.Visits {
		e, err := visits.Decode(body)
		if err != nil {
			return "", "", nil, err
		}
		subjects, err := visits.NewSubjects(prefix)
		if err != nil {
			return "", "", nil, err
		}
		if v := &e.Data.Visit; c.settings.Forgotten.Is(e.Account, v.GuestID, v.DeviceMAC, e.Data.Guest) {
			e.Forget()
		}
		c.copy.stripVisit(&e)
		body, err = visits.Encode(e)
		return subjects.Of(e), e.ID, body, err
	}
	e, err := events.Decode(body)
	if err != nil {
		return "", "", nil, err
	}
	subjects, err := events.NewSubjects(prefix)
	if err != nil {
		return "", "", nil, err
	}
	c.settings.Forgotten.Cleanse(&e)
	c.copy.strip(&e)
	body, err = events.Encode(e)
	return subjects.Of(e), e.ID, body, err
}
