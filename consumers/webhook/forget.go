package webhook

import (
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
)

// document is a job's event as it may be told by now: it may have been in hand, or waited
// here, when the person was forgotten and the event's message was deleted.
func (r *runner) document(j *job) ([]byte, error) {
	if j.document == nil {
		j.document = j.msg.Data()
	}
	if j.bad != nil {
		return j.document, nil
	}
	document, err := j.event.untold(r.o.Forgotten, j.document)
	if err == nil {
		j.document = document
	}
	return document, err
}

// untold returns the event's document without who is forgotten, of whom it does not tell
// from then on; as it is where it tells of nobody.
func (n *notice) untold(list *forgotten.List, document []byte) ([]byte, error) {
	if n.topic.cleanse == nil {
		return document, nil
	}
	cleansed, changed, err := n.topic.cleanse(list, n.of)
	switch {
	case err != nil:
		return nil, err
	case changed:
		return cleansed, nil
	}
	return document, nil
}

func cleanseSession(list *forgotten.List, of any) (document []byte, changed bool, err error) {
	e := of.(*events.Event)
	if changed = list.Cleanse(e); changed {
		document, err = events.Encode(*e)
	}
	return document, changed, err
}

func cleanseVisit(list *forgotten.List, of any) (document []byte, changed bool, err error) {
	e := of.(*visits.Event)
	if changed = list.Is(e.Account, e.Data.Visit.GuestID, e.Data.Visit.DeviceMAC, e.Data.Guest); changed {
		e.Forget()
		document, err = visits.Encode(*e)
	}
	return document, changed, err
}
