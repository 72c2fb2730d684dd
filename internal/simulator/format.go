package simulator

import (
	"strconv"
	"time"

	"github.com/guestflow/guestflow/events"
)

var units = [...]string{"B", "kB", "MB", "GB", "TB", "PB"}

// hundredths returns v in hundredths of the unit that the platform picks by the
// exact value, so that 999,996 B are "1000.00 kB".
func hundredths(v, base int64) (n, unit int64, name string) {
	i := 0
	for unit = 1; i < len(units)-1 && v >= unit*base; i++ {
		unit *= base
	}
	// v = q·unit + r; only r is scaled, so that nothing overflows.
	q, r := v/unit, v%unit
	return q*100 + (r*100+unit/2)/unit, unit, units[i]
}

// formatBytes writes v as the platform does: "3.34 MB", "900.58 kB", "12.00 B".
func formatBytes(b []byte, v, base int64) []byte {
	n, _, name := hundredths(v, base)
	b = strconv.AppendInt(b, n/100, 10)
	b = append(b, '.', byte('0'+n/10%10), byte('0'+n%10), ' ')
	return append(b, name...)
}

// round is the figure that remains of v once it has been written by formatBytes:
// hundredths of its unit, of which nobody can tell whether they were rounded or cut:
// right to a whole one.
func round(v, base int64) events.Bytes {
	n, unit, _ := hundredths(v, base)
	// Bytes themselves are whole; in base 1024 a hundredth is no whole number.
	value := n/100*unit + (n%100*unit+50)/100
	if unit == 1 {
		return events.Bytes{Value: value}
	}
	return events.Bytes{Value: value, Error: (unit + 99) / 100}
}

// formatDuration writes whole seconds as "HH:MM:SS"; hours may pass 24.
func formatDuration(b []byte, seconds int64) []byte {
	two := func(v int64) {
		if v < 10 {
			b = append(b, '0')
		}
		b = strconv.AppendInt(b, v, 10)
	}
	two(seconds / 3600)
	b = append(b, ':')
	two(seconds / 60 % 60)
	b = append(b, ':')
	two(seconds % 60)
	return b
}

const (
	rfc3339   = "2006-01-02T15:04:05-07:00" // the platform writes +00:00, never Z
	forPeople = "2006-01-02 3:04 PM"
)

// localTime is the zone of the *_formatted fields: that of the documented record.
var localTime = time.FixedZone("", 3*3600)

// appendTime writes a quoted time, or null for the zero time.
func appendTime(b []byte, t time.Time, layout string) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.AppendFormat(b, layout)
	return append(b, '"')
}

// appendString writes s as PHP's json_encode does: '/' and all that is not ASCII
// escaped.
func appendString(b []byte, s string) []byte {
	unicode := func(v rune) {
		b = append(b, '\\', 'u', hexDigits[v>>12&15], hexDigits[v>>8&15], hexDigits[v>>4&15], hexDigits[v&15])
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\' || r == '/':
			b = append(b, '\\', byte(r))
		case r < ' ' || r >= 0x7f && r < 0x10000:
			unicode(r)
		case r >= 0x10000:
			unicode(0xd800 + (r-0x10000)>>10)
			unicode(0xdc00 + (r-0x10000)&0x3ff)
		default:
			b = append(b, byte(r))
		}
	}
	return append(b, '"')
}

// appendRecord writes one session record with every documented field.
func (p *population) appendRecord(b []byte, s *session, t int64) []byte {
	field := func(name, value string) {
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
		b = appendString(b, value)
		b = append(b, ',')
	}
	quoted := func(name string, write func([]byte) []byte) {
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":"`...)
		b = write(b)
		b = append(b, '"', ',')
	}
	r := &s.rec
	down, up := s.figures(t, p.interval)
	b = append(b, '{')
	identity := func(name, value string, hidden bool) {
		if !hidden {
			field(name, value)
			return
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":null,`...)
	}
	identity("id", r.ID, s.hidden.id)
	identity("location_id", r.LocationID, s.hidden.location)
	field("location_name", r.LocationName)
	field("guest_device_description", r.DeviceDescription)
	field("guest_device_mac", r.DeviceMAC)
	field("guest_device_ip", r.DeviceIP)
	field("access_code", r.AccessCode)
	field("login_type_name", r.LoginType)
	field("service_profile_name", r.ServiceProfile)
	quoted("total_duration", func(b []byte) []byte { return formatDuration(b, p.cfg.shownDuration(s.duration(t))) })
	quoted("downloaded_data", func(b []byte) []byte { return p.cfg.appendBytes(b, down) })
	quoted("uploaded_data", func(b []byte) []byte { return p.cfg.appendBytes(b, up) })
	if s.online {
		b = append(b, `"connection_status":"Online","connection_status_value":1,`...)
	} else {
		b = append(b, `"connection_status":"Offline","connection_status_value":0,`...)
	}
	b = append(b, `"start_time":`...)
	b = p.cfg.appendDate(b, r.StartedAt)
	b = append(b, `,"start_time_formatted":`...)
	b = appendTime(b, r.StartedAt.In(localTime), forPeople)
	b = append(b, ',')
	if r.EndedAt.IsZero() {
		b = p.cfg.appendNoEnd(b, t)
	} else {
		b = append(b, `"end_time":`...)
		b = p.cfg.appendDate(b, r.EndedAt)
		b = append(b, `,"end_time_formatted":`...)
		b = appendTime(b, r.EndedAt.In(localTime), forPeople)
		b = append(b, ',')
	}
	field("guest_id", r.GuestID)
	b = append(b, `"yas_id":`...)
	b = appendString(b, r.YasID)
	return append(b, '}')
}
