package events

// Forgotten is the device description of a session whose person is forgotten: it says why
// the session names nobody.
const Forgotten = "forgotten"

// Forget takes out of s whatever tells who it is of. What it counts for stays: where and
// when it was, and its figures.
func (s *Session) Forget() {
	s.GuestID, s.YasID, s.DeviceMAC, s.DeviceIP, s.AccessCode = "", "", "", "", ""
	s.DeviceDescription = Forgotten
}

// Forget takes out of e whatever tells who it is of. Its id stays.
func (e *Event) Forget() {
	d := &e.Data
	d.Session.Forget()
	d.Guest, d.Observed.Guest = nil, ""
	e.ForgetPrevious()
}

// ForgetPrevious takes out of e whatever tells who its session was of before. The device's
// description stands for what changed, as an empty one, so that an event which changed
// nothing else still names a change.
func (e *Event) ForgetPrevious() {
	if e.Data.Previous == nil {
		return
	}
	p, none := *e.Data.Previous, ""
	for _, v := range [...]**string{&p.GuestID, &p.YasID, &p.DeviceMAC, &p.DeviceIP, &p.AccessCode, &p.DeviceDescription} {
		if *v != nil {
			*v, p.DeviceDescription = nil, &none
		}
	}
	e.Data.Previous = &p
}
