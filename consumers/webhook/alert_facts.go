package webhook

import (
	"time"

	"github.com/guestflow/guestflow/events/alerts"
)

// alertFacts is what an expression sees of an alert event, under its JSON names.
type alertFacts struct {
	ID       string      `expr:"id"`
	Account  string      `expr:"account"`
	Kind     string      `expr:"kind"`
	Time     time.Time   `expr:"time"`
	Groups   []string    `expr:"groups"`
	Revision int64       `expr:"revision"`
	Alert    alertObject `expr:"alert"`
}

// alertObject has a usual figure of 0 and no basis where that is not known.
type alertObject struct {
	ID           string    `expr:"id"`
	Rule         string    `expr:"rule"`
	What         string    `expr:"what"`
	Figure       string    `expr:"figure"`
	LocationID   string    `expr:"location_id"`
	LocationName string    `expr:"location_name"`
	Since        time.Time `expr:"since"`
	RaisedAt     time.Time `expr:"raised_at"`
	ClearedAt    time.Time `expr:"cleared_at"`
	Reason       string    `expr:"reason"`
	Value        int64     `expr:"value"`
	Low          int64     `expr:"low"`
	High         int64     `expr:"high"`
	LookedAt     time.Time `expr:"looked_at"`
	Threshold    float64   `expr:"threshold"`
	Usual        float64   `expr:"usual"`
	Basis        string    `expr:"basis"`
}

func alertFactsOf(e *alerts.Event, groups []string) alertFacts {
	a := &e.Data.Alert
	f := alertFacts{
		ID: e.ID, Account: e.Account, Kind: string(e.Kind), Time: e.Time, Groups: groups, Revision: e.Data.Revision,
		Alert: alertObject{
			ID: a.ID, Rule: a.Rule, What: string(a.What), Figure: a.Figure, LocationID: a.LocationID, LocationName: a.LocationName,
			Since: a.Since, RaisedAt: a.RaisedAt, ClearedAt: a.ClearedAt, Reason: string(a.Reason),
			Value: int64(a.Value), Low: int64(a.Low), High: int64(a.High), LookedAt: a.LookedAt, Threshold: a.Threshold, Basis: a.Basis,
		},
	}
	if a.Usual != nil {
		f.Alert.Usual = *a.Usual
	}
	return f
}

var alertTopic = &topic{
	name:  "alerts",
	kinds: textsOf(alerts.Kinds()...),
	env:   alertFacts{},
	maker: "set GUESTFLOW_ALERTS_FILE for guestflow run",
	facts: func(of any, groups []string) any { return alertFactsOf(of.(*alerts.Event), groups) },
	outline: func(of any) notice {
		e := of.(*alerts.Event)
		a := &e.Data.Alert
		return notice{
			id: e.ID, account: e.Account, kind: string(e.Kind), subject: a.ID, location: a.LocationID,
			places: []string{a.LocationID}, happened: e.Time, of: e,
		}
	},
	decode: func(document []byte) (any, error) {
		e, err := alerts.Decode(document)
		return &e, err
	},
	encode: func(of any) ([]byte, error) {
		e := of.(*alerts.Event)
		*e = e.Sealed()
		return alerts.Encode(*e)
	},
	sample: func(kind string, at time.Time) any {
		e := SampleAlert(alerts.Kind(kind), at)
		return &e
	},
	mayVary: func(kind, path string) bool {
		return path != "alert.cleared_at" && path != "alert.reason" || kind == string(alerts.Cleared)
	},
}

// SampleAlert is a made-up event of an alert in account and location "example".
func SampleAlert(kind alerts.Kind, at time.Time) alerts.Event {
	at = at.UTC().Truncate(time.Second)
	usual := 41.5
	e := alerts.Event{Account: "example", Kind: kind, Time: at, Data: alerts.Data{Revision: 1, Alert: alerts.Alert{
		Rule: "full", What: alerts.Above, Figure: "devices", LocationID: "example", LocationName: "Example Hotel",
		Since: at.Add(-2 * time.Minute), RaisedAt: at, Value: 84, Low: 81, High: 87, LookedAt: at.Add(-9 * time.Second),
		Threshold: 80, Usual: &usual, Basis: "observed",
	}}}
	if kind == alerts.Cleared {
		a := &e.Data.Alert
		e.Data.Revision = 2
		a.Since, a.RaisedAt, a.ClearedAt, a.Reason = at.Add(-time.Hour), at.Add(-58*time.Minute), at, alerts.Over
		a.Value, a.Low, a.High = 66, 64, 69
	}
	return e.Sealed()
}
