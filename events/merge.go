package events

// Merge returns the one traffic event that stands for older and newer, two
// traffic events of the same session in a row: from what older replaced to what
// newer shows, with the revision of older. It reports false when the two cannot
// be merged.
func Merge(older, newer Event) (Event, bool) {
	o, n := &older.Data, &newer.Data
	if older.Kind != Traffic || newer.Kind != Traffic || older.Account != newer.Account ||
		o.Session.ID != n.Session.ID || o.Episode != n.Episode || n.Revision != o.Revision+1 ||
		o.Change == nil || n.Change == nil || o.Previous == nil {
		return Event{}, false
	}
	m := newer
	m.Data.Revision = o.Revision
	previous := *o.Previous
	m.Data.Previous = &previous
	m.Data.Change = &Change{
		DownloadedBytes: o.Change.DownloadedBytes + n.Change.DownloadedBytes,
		UploadedBytes:   o.Change.UploadedBytes + n.Change.UploadedBytes,
		Reset:           o.Change.Reset || n.Change.Reset,
	}
	m.Data.Observed.NotYetAt = o.Observed.NotYetAt
	return m.Sealed(), true
}
