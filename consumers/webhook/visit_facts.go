package webhook

import (
	"time"

	"github.com/guestflow/guestflow/events/visits"
)

// visitFacts is what an expression sees of a visit event, under its JSON names. A guest
// is there always, with empty fields where the event names nobody.
type visitFacts struct {
	ID               string             `expr:"id"`
	Account          string             `expr:"account"`
	Kind             string             `expr:"kind"`
	Time             time.Time          `expr:"time"`
	Groups           []string           `expr:"groups"`
	Revision         int64              `expr:"revision"`
	ThresholdSeconds int64              `expr:"threshold_seconds"`
	Visit            visitObject        `expr:"visit"`
	Guest            guestFacts         `expr:"guest"`
	Observed         visitObservedFacts `expr:"observed"`
}

type visitObject struct {
	ID              string    `expr:"id"`
	Place           string    `expr:"place"`
	Group           string    `expr:"group"`
	LocationID      string    `expr:"location_id"`
	LocationName    string    `expr:"location_name"`
	Locations       []string  `expr:"locations"`
	Identity        string    `expr:"identity"`
	GuestID         string    `expr:"guest_id"`
	DeviceMAC       string    `expr:"device_mac"`
	Number          int64     `expr:"number"`
	First           string    `expr:"first"`
	DaysSinceLast   int64     `expr:"days_since_last"` // -1 where not known
	Arrival         string    `expr:"arrival"`
	StartedAt       time.Time `expr:"started_at"`
	EndedAt         time.Time `expr:"ended_at"`
	DurationSeconds int64     `expr:"duration_seconds"`
	Devices         int64     `expr:"devices"`
	Sessions        int64     `expr:"sessions"`
	DownloadedBytes int64     `expr:"downloaded_bytes"`
	UploadedBytes   int64     `expr:"uploaded_bytes"`
}

type visitObservedFacts struct {
	At       time.Time `expr:"at"`
	NotYetAt time.Time `expr:"not_yet_at"`
	End      string    `expr:"end"`
}

func visitFactsOf(e *visits.Event, groups []string) visitFacts {
	v, o := &e.Data.Visit, &e.Data.Observed
	f := visitFacts{
		ID: e.ID, Account: e.Account, Kind: string(e.Kind), Time: e.Time, Groups: groups, Revision: e.Data.Revision, ThresholdSeconds: e.Data.ThresholdSeconds,
		Visit: visitObject{
			ID: v.ID, Place: v.Place, Group: v.Group, LocationID: v.LocationID, LocationName: v.LocationName, Locations: v.Locations,
			Identity: string(v.Identity), GuestID: v.GuestID, DeviceMAC: v.DeviceMAC, Arrival: string(v.Arrival),
			Number: v.Number, First: string(v.First), DaysSinceLast: -1,
			StartedAt: v.StartedAt, EndedAt: v.EndedAt, DurationSeconds: v.DurationSeconds, Devices: v.Devices, Sessions: v.Sessions,
			DownloadedBytes: v.DownloadedBytes, UploadedBytes: v.UploadedBytes,
		},
		Observed: visitObservedFacts{At: o.At, NotYetAt: o.NotYetAt, End: string(o.End)},
	}
	if days := v.DaysSinceLast; days != nil {
		f.Visit.DaysSinceLast = *days
	}
	if g := e.Data.Guest; g != nil {
		f.Guest = guestFacts(*g)
	}
	return f
}
