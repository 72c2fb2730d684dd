package events

import "time"

// sample is the session of the platform's documentation, as it starts.
func sample() Event {
	return Event{
		Account: "default",
		Kind:    Started,
		Time:    time.Date(2017, 1, 5, 6, 50, 55, 0, time.UTC),
		Data: Data{
			Revision: 1,
			Session: Session{
				ID: "pR3zOKmvzqe", LocationID: "oWNe6XWDPLM", LocationName: "IPERA",
				GuestID: "ajKeDq4582W", YasID: "8f627d10-1abc-44d8-b964-a7816388173a",
				DeviceMAC: "14:2d:27:e7:40:2b", DeviceIP: "172.31.98.114", DeviceDescription: "WebKit",
				LoginType: "Registration", ServiceProfile: "Default Service Profile - 60 Minute(s)",
				Online: true, StartedAt: time.Date(2017, 1, 5, 6, 50, 55, 0, time.UTC), DurationSeconds: 12,
				Downloaded: Bytes{10_250, 5}, Uploaded: Bytes{4_120, 5},
			},
			Observed: Observed{
				At:       time.Date(2017, 1, 5, 6, 51, 7, 250_000_000, time.UTC),
				NotYetAt: time.Date(2017, 1, 5, 6, 50, 47, 0, time.UTC),
				Rounding: Rounding{DownloadedBytes: 5, UploadedBytes: 5},
			},
		},
	}.Sealed()
}
