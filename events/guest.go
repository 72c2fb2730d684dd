package events

// Guest is the person behind a session, as the platform names them. A field that
// the platform left empty or out, or that the privacy settings drop, is empty and
// absent from the JSON; at least one is there. Either may be a pseudonym.
type Guest struct {
	Username string `json:"username,omitempty"`
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
}

// Sureness says how sure a Guest is. The platform tells guests by IP address
// alone, and addresses pass from guest to guest.
type Sureness string

const (
	// GuestConfirmed: the connection that the platform described began when the
	// session did, and before the session was seen at the address; so it is the
	// session's. Or that was so of an earlier session of the same guest_id.
	GuestConfirmed Sureness = "confirmed"
	// GuestLikely: one of the two holds, and nothing speaks against the other.
	GuestLikely Sureness = "likely"
)
