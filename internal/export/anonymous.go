package export

import (
	"cmp"
	"hash/maphash"
	"io"
	"slices"
	"time"
)

// Anonymous is a row where K is set: sessions or visits that are alike, of at least K
// people. Nothing in it is one person's: no ids, addresses or devices, and figures only
// as means. What is empty was made coarser, since with it fewer than K people were alike.
type Anonymous struct {
	Account    string `parquet:"account,dict"`
	LocationID string `parquet:"location_id,dict,optional"`
	// From is when the hour or day of the end began, Span which of both it is.
	From           int64  `parquet:"ended_from,timestamp(microsecond)"`
	Span           string `parquet:"ended_within,dict"`
	LoginType      string `parquet:"login_type,dict,optional"`
	ServiceProfile string `parquet:"service_profile,dict,optional"`
	Count          int64  `parquet:"count"`
	// People is how many there are at least.
	People int64 `parquet:"people"`
	// Means are null where a row of the class lacks the figure.
	MeanSeconds    *float64 `parquet:"mean_duration_seconds"`
	MeanDownloaded *float64 `parquet:"mean_downloaded_bytes"`
	MeanUploaded   *float64 `parquet:"mean_uploaded_bytes"`
}

// class is what rows that are alike have in common.
type class struct {
	account, location, login, profile string
	from                              int64
	day                               bool
}

// coarser are the steps that make a class larger, the first one first. Behind the last
// one its rows are left out.
var coarser = []func(c class) class{
	func(c class) class { return c },
	func(c class) class { c.login, c.profile = "", ""; return c },
	func(c class) class {
		c.from = time.UnixMicro(c.from).UTC().Truncate(24 * time.Hour).UnixMicro()
		c.day = true
		return c
	},
	func(c class) class { c.location = ""; return c },
}

// group are the rows of a class.
type group struct {
	guests, devices map[uint64]struct{} // devices of rows without a guest
	count           int64
	// figures are sums over all rows; one that a row lacks is dropped for the class, since
	// a mean over few of its rows could be one person's.
	figures [3]float64
	lacking [3]bool
}

func newGroup() *group {
	return &group{guests: map[uint64]struct{}{}, devices: map[uint64]struct{}{}}
}

// people is how many people stand behind the group at least. A device without a guest
// may be that of a guest who is counted, and what has neither may be anyone's.
func (g *group) people() int { return max(1, len(g.guests), len(g.devices)) }

func (g *group) merge(o *group) {
	for id := range o.guests {
		g.guests[id] = struct{}{}
	}
	for id := range o.devices {
		g.devices[id] = struct{}{}
	}
	g.count += o.count
	for i := range g.figures {
		g.figures[i] += o.figures[i]
		g.lacking[i] = g.lacking[i] || o.lacking[i]
	}
}

// classes collects rows by what they have in common.
type classes struct {
	seed   maphash.Seed
	groups map[class]*group
}

func newClasses() *classes {
	return &classes{maphash.MakeSeed(), map[class]*group{}}
}

// add puts a row into its class. A nil figure is not known.
func (cs *classes) add(c class, guest, device string, figures [3]*int64) {
	g := cs.groups[c]
	if g == nil {
		g = newGroup()
		cs.groups[c] = g
	}
	switch {
	case guest != "":
		g.guests[maphash.Comparable(cs.seed, [2]string{c.account, guest})] = struct{}{}
	case device != "":
		g.devices[maphash.Comparable(cs.seed, [2]string{c.account, device})] = struct{}{}
	}
	g.count++
	for i, f := range figures {
		if f == nil {
			g.lacking[i] = true
		} else {
			g.figures[i] += float64(*f)
		}
	}
}

func hourOf(at int64) int64 {
	return time.UnixMicro(at).UTC().Truncate(time.Hour).UnixMicro()
}

func (cs *classes) sessions(rows []Session) {
	for i := range rows {
		r := &rows[i]
		cs.add(class{r.Account, r.LocationID, r.LoginType, r.ServiceProfile, hourOf(r.EndedAt), false}, r.GuestID, r.DeviceMAC,
			[3]*int64{r.DurationSeconds, r.DownloadedBytes, r.UploadedBytes})
	}
}

func (cs *classes) visits(rows []Visit) {
	for i := range rows {
		r := &rows[i]
		cs.add(class{r.Account, r.Place, "", "", hourOf(r.EndedAt), false}, r.GuestID, r.DeviceMAC,
			[3]*int64{&r.DurationSeconds, &r.DownloadedBytes, &r.UploadedBytes})
	}
}

// anonymous are the classes of k people or more: what is too small is made coarser, and
// what stays too small is left out, and counted.
func (cs *classes) anonymous(k int) (rows []Anonymous, leftOut int64) {
	small := cs.groups
	for _, step := range coarser {
		stage := map[class]*group{}
		for c, g := range small {
			into := step(c)
			if stage[into] == nil {
				stage[into] = newGroup()
			}
			stage[into].merge(g)
		}
		small = map[class]*group{}
		for c, g := range stage {
			if g.people() < k {
				small[c] = g
				continue
			}
			rows = append(rows, rowOf(c, g))
		}
	}
	for _, g := range small {
		leftOut += g.count
	}
	slices.SortFunc(rows, func(a, b Anonymous) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Span, b.Span), cmp.Compare(a.Account, b.Account),
			cmp.Compare(a.LocationID, b.LocationID), cmp.Compare(a.LoginType, b.LoginType), cmp.Compare(a.ServiceProfile, b.ServiceProfile))
	})
	return rows, leftOut
}

func rowOf(c class, g *group) Anonymous {
	row := Anonymous{
		Account: c.account, LocationID: c.location, From: c.from, Span: "hour", LoginType: c.login, ServiceProfile: c.profile,
		Count: g.count, People: int64(g.people()),
	}
	if c.day {
		row.Span = "day"
	}
	for i, mean := range [...]**float64{&row.MeanSeconds, &row.MeanDownloaded, &row.MeanUploaded} {
		if !g.lacking[i] {
			v := g.figures[i] / float64(g.count)
			*mean = &v
		}
	}
	return row
}

func (cs *classes) written(out io.Writer, r Request, report *Report) error {
	return written(out, r.Format, report, func(put func([]Anonymous) error) error {
		rows, leftOut := cs.anonymous(r.K)
		report.LeftOut = leftOut
		return put(rows)
	})
}
