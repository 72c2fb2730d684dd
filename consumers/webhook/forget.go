package webhook

import (
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
)

// document is a job's event as it may be told by now: it may have been in hand, or waited
// here, when the person was forgotten and the event's message was deleted.
func (r *runner) document(j *job) ([]byte, error) {
	if cleanse := j.event.topic.cleanse; j.bad == nil && cleanse != nil {
		document, changed, err := cleanse(r.o.Forgotten, j.event.of)
		if err != nil {
			return nil, err
		}
		if changed {
			j.cleansed = document
		}
	}
	if j.cleansed != nil {
		return j.cleansed, nil
	}
	return j.msg.Data(), nil
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
