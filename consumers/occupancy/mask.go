package occupancy

import (
	"unicode/utf8"

	"github.com/guestflow/guestflow/events"
)

const hidden = "•••"

// masked hides an identifier but its last two characters, so that a person can
// tell two of them apart at a glance. A short one is hidden wholly.
func masked(v string) string {
	switch n := utf8.RuneCountInString(v); {
	case n == 0:
		return ""
	case n < 6:
		return hidden
	}
	i := len(v)
	for range 2 {
		_, size := utf8.DecodeLastRuneInString(v[:i])
		i -= size
	}
	return hidden + v[i:]
}

// concealed hides a value wholly.
func concealed(v string) string {
	if v == "" {
		return ""
	}
	return hidden
}

// Masked returns e without its personal data: guest, device and access code.
// Only fields that are known to be harmless are taken over, so a field that is
// added to the contract stays hidden until it is named here.
func Masked(e events.Event) events.Event {
	s := &e.Data.Session
	d := events.Data{
		Revision: e.Data.Revision, Episode: e.Data.Episode, Change: e.Data.Change, Observed: e.Data.Observed,
		Session: events.Session{
			ID: s.ID, LocationID: s.LocationID, LocationName: s.LocationName,
			GuestID: masked(s.GuestID), YasID: masked(s.YasID), DeviceMAC: masked(s.DeviceMAC), DeviceIP: masked(s.DeviceIP),
			DeviceDescription: concealed(s.DeviceDescription), AccessCode: concealed(s.AccessCode),
			LoginType: s.LoginType, ServiceProfile: s.ServiceProfile,
			Online: s.Online, StartedAt: s.StartedAt, EndedAt: s.EndedAt, DurationSeconds: s.DurationSeconds,
			Downloaded: s.Downloaded, Uploaded: s.Uploaded,
		},
	}
	d.Observed.Guest = "" // of a guest who is left out
	if p := e.Data.Previous; p != nil {
		hide := func(v *string, how func(string) string) *string {
			if v == nil {
				return nil
			}
			h := how(*v)
			return &h
		}
		d.Previous = &events.Previous{
			LocationID: p.LocationID, LocationName: p.LocationName,
			GuestID: hide(p.GuestID, masked), YasID: hide(p.YasID, masked), DeviceMAC: hide(p.DeviceMAC, masked), DeviceIP: hide(p.DeviceIP, masked),
			DeviceDescription: hide(p.DeviceDescription, concealed), AccessCode: hide(p.AccessCode, concealed),
			LoginType: p.LoginType, ServiceProfile: p.ServiceProfile, StartedAt: p.StartedAt,
			DurationSeconds: p.DurationSeconds, DownloadedBytes: p.DownloadedBytes, UploadedBytes: p.UploadedBytes,
		}
	}
	e.Data = d
	return e
}

// mask hides the personal data of a session, and leaves out the guest's name and address.
func (s *Session) mask() {
	s.GuestName, s.GuestEmail = "", ""
	for _, v := range []*string{&s.GuestID, &s.YasID, &s.DeviceMAC, &s.DeviceIP} {
		*v = masked(*v)
	}
	s.DeviceDescription, s.AccessCode = concealed(s.DeviceDescription), concealed(s.AccessCode)
}
