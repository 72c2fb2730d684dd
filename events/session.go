package events

import "time"

// Session is one guest's Wi-Fi session, normalised from the platform's
// record: bytes as integers, durations in seconds, times in UTC, MAC addresses
// in canonical form. A field that the platform left null, empty or out, or that
// the privacy settings drop, has its zero value and is absent from the JSON.
type Session struct {
	// ID is the platform's session id. It is never empty.
	ID string `json:"id"`
	// LocationID is the venue that the session belongs to. It is never empty.
	LocationID        string `json:"location_id"`
	LocationName      string `json:"location_name,omitempty"`
	GuestID           string `json:"guest_id,omitempty"`
	YasID             string `json:"yas_id,omitempty"`
	DeviceMAC         string `json:"device_mac,omitempty"` // aa:bb:cc:dd:ee:ff, or a pseudonym
	DeviceIP          string `json:"device_ip,omitempty"`  // canonical text form, or a pseudonym
	DeviceDescription string `json:"device_description,omitempty"`
	AccessCode        string `json:"access_code,omitempty"`
	LoginType         string `json:"login_type,omitempty"`
	ServiceProfile    string `json:"service_profile,omitempty"`

	// Online is the platform's connection_status_value.
	Online bool `json:"online"`
	// StartedAt and EndedAt are the platform's own times, UTC; zero when unknown.
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// DurationSeconds is the platform's total_duration; UnknownSeconds when the
	// record had none that could be read.
	DurationSeconds int64 `json:"duration_seconds"`

	Downloaded Bytes `json:"downloaded_bytes,omitzero"`
	Uploaded   Bytes `json:"uploaded_bytes,omitzero"`
}

// Bytes is an amount of data as the platform shows it: rounded or cut to two
// decimals of its unit ("3.34 MB"), so that the true figure lies within Error of Value.
// Its JSON form is Value alone; an Event carries the errors in
// Observed.Rounding.
type Bytes struct {
	Value int64 // bytes
	// Error is in bytes; zero when the value is exact, negative when the record
	// had no readable figure: then Value is zero, and an event leaves both out.
	Error int64
}

// UnknownSeconds is the duration of a record that has none.
const UnknownSeconds = -1

// UnknownBytes is the figure of a record that has none.
var UnknownBytes = Bytes{Error: -1}

// Known reports whether the record had a figure.
func (b Bytes) Known() bool { return b.Error >= 0 }

// IsZero reports whether there is no figure, for JSON's omitzero: a figure of zero
// bytes is one.
func (b Bytes) IsZero() bool { return !b.Known() }

// Rounding holds the rounding errors of a session's two byte figures, in bytes:
// the true figure lies within the error of the published one. It is negative, and
// absent from the JSON, for a figure that is not known.
type Rounding struct {
	DownloadedBytes int64 `json:"downloaded_bytes"`
	UploadedBytes   int64 `json:"uploaded_bytes"`
}

// FillFrom copies the text attributes and the start from old wherever s has none.
func (s *Session) FillFrom(old *Session) {
	was := old.attributes()
	for i, is := range s.attributes() {
		if *is == "" {
			*is = *was[i]
		}
	}
	if s.StartedAt.IsZero() {
		s.StartedAt = old.StartedAt
	}
}

// attributes lists the session's text attributes, in the order of Previous.
func (s *Session) attributes() [10]*string {
	return [...]*string{
		&s.LocationID, &s.LocationName, &s.GuestID, &s.YasID, &s.DeviceMAC, &s.DeviceIP,
		&s.DeviceDescription, &s.AccessCode, &s.LoginType, &s.ServiceProfile,
	}
}

func (p *Previous) attributes() [10]**string {
	return [...]**string{
		&p.LocationID, &p.LocationName, &p.GuestID, &p.YasID, &p.DeviceMAC, &p.DeviceIP,
		&p.DeviceDescription, &p.AccessCode, &p.LoginType, &p.ServiceProfile,
	}
}

// Replaced returns the values of old that differ in s, or nil when none does.
// The duration grows with time alone and is filled in only beside byte figures. A
// figure that was not known has no old value.
func (s *Session) Replaced(old *Session) *Previous {
	var p Previous
	changed := false
	was, is, out := old.attributes(), s.attributes(), p.attributes()
	for i := range was {
		if *was[i] != *is[i] {
			v := *was[i]
			*out[i] = &v
			changed = true
		}
	}
	if !s.StartedAt.Equal(old.StartedAt) {
		v := old.StartedAt
		p.StartedAt = &v
		changed = true
	}
	if s.Downloaded.Value != old.Downloaded.Value || s.Uploaded.Value != old.Uploaded.Value {
		down, up, seconds := old.Downloaded.Value, old.Uploaded.Value, old.DurationSeconds
		if old.Downloaded.Known() {
			p.DownloadedBytes = &down
		}
		if old.Uploaded.Known() {
			p.UploadedBytes = &up
		}
		if seconds != UnknownSeconds {
			p.DurationSeconds = &seconds
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return &p
}
