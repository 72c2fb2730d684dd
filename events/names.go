package events

// name is a member name of the wire form, in whatever object it stands.
type name uint8

const (
	unknown name = iota
	nameSpecVersion
	nameID
	nameSource
	nameType
	nameSubject
	nameTime
	nameData
	nameRevision
	nameEpisode
	nameSession
	namePrevious
	nameChange
	nameObserved
	nameOnline
	nameStartedAt
	nameEndedAt
	nameDurationSeconds
	nameDownloadedBytes
	nameUploadedBytes
	nameReset
	nameAt
	nameNotYetAt
	nameEnd
	nameProof
	nameRounding
	nameBackfilled
	nameGuest
	nameUsername
	nameName
	nameEmail
	// nameAttributes is the first of the session's text attributes, which
	// follow in the order of attributeNames.
	nameAttributes
)

// attributeNames are the member names of Session.attributes and
// Previous.attributes.
var attributeNames = [...]string{
	"location_id", "location_name", "guest_id", "yas_id", "device_mac", "device_ip",
	"device_description", "access_code", "login_type", "service_profile",
}

// attribute returns the index in attributeNames, and whether n is there.
func (n name) attribute() (int, bool) { return int(n) - int(nameAttributes), n >= nameAttributes }

// nameOf is a switch since that is several times as fast as a map.
func nameOf(key []byte) name {
	switch string(key) {
	case "specversion":
		return nameSpecVersion
	case "id":
		return nameID
	case "source":
		return nameSource
	case "type":
		return nameType
	case "subject":
		return nameSubject
	case "time":
		return nameTime
	case "data":
		return nameData
	case "revision":
		return nameRevision
	case "episode":
		return nameEpisode
	case "session":
		return nameSession
	case "previous":
		return namePrevious
	case "change":
		return nameChange
	case "observed":
		return nameObserved
	case "online":
		return nameOnline
	case "started_at":
		return nameStartedAt
	case "ended_at":
		return nameEndedAt
	case "duration_seconds":
		return nameDurationSeconds
	case "downloaded_bytes":
		return nameDownloadedBytes
	case "uploaded_bytes":
		return nameUploadedBytes
	case "reset":
		return nameReset
	case "at":
		return nameAt
	case "not_yet_at":
		return nameNotYetAt
	case "end":
		return nameEnd
	case "proof":
		return nameProof
	case "rounding":
		return nameRounding
	case "backfilled":
		return nameBackfilled
	case "guest":
		return nameGuest
	case "username":
		return nameUsername
	case "name":
		return nameName
	case "email":
		return nameEmail
	case "location_id":
		return nameAttributes
	case "location_name":
		return nameAttributes + 1
	case "guest_id":
		return nameAttributes + 2
	case "yas_id":
		return nameAttributes + 3
	case "device_mac":
		return nameAttributes + 4
	case "device_ip":
		return nameAttributes + 5
	case "device_description":
		return nameAttributes + 6
	case "access_code":
		return nameAttributes + 7
	case "login_type":
		return nameAttributes + 8
	case "service_profile":
		return nameAttributes + 9
	}
	return unknown
}
