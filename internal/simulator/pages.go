package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// listSessions writes one page of session records in the paginator's envelope.
func (s *Simulator) listSessions(r *request, a *answer) {
	q, given := queryOf(r.URL.Query())
	page, more, p := s.page(q)
	truth := s.served(q, page, more, p.now)
	n := len(page)
	if f, ok := r.struck[FaultDuplicate]; ok {
		page = s.duplicated(p, q, page, f.h)
	}
	damaged, damage := r.struck[FaultDamaged]
	b := make([]byte, 0, 512+700*len(page))
	b = append(b, `{"data":[`...)
	for i, x := range page {
		if i > 0 {
			b = append(b, ',')
		}
		from := len(b)
		b = p.appendRecord(b, x, p.now)
		if !damage {
			continue
		}
		h := hash(damaged.h, uint64(i))
		if i == int(damaged.h%uint64(len(page))) || h%10 == 0 {
			record, fit := damagedRecord(b[from:], mix(h))
			b = append(b[:from], record...)
			if !fit {
				truth.Online = without(truth.Online, x.rec.ID)
			}
		}
	}
	a.body = append(s.envelope(append(b, ']'), r, q, n, more, given), '}')
	a.served = &truth
}

func without(ids []string, id string) []string {
	kept := ids[:0]
	for _, o := range ids {
		if o != id {
			kept = append(kept, o)
		}
	}
	return kept
}

// envelope writes links and meta of Laravel's simplePaginate: no total, no last
// page, and links that need not repeat the filters.
func (s *Simulator) envelope(b []byte, r *request, q Query, n int, more, perPageGiven bool) []byte {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	path := scheme + "://" + r.Host + r.URL.Path
	size := s.cfg.pageSize(q.PerPage)
	page := max(q.Page, 1)
	link := func(page int) string {
		v := url.Values{}
		if s.cfg.NextKeepsFilters {
			v = r.URL.Query()
		}
		v.Set("page", strconv.Itoa(page))
		return path + "?" + v.Encode()
	}
	orNull := func(name, v string, ok bool) {
		b = append(b, name...)
		if ok {
			b = appendString(b, v)
		} else {
			b = append(b, "null"...)
		}
	}
	next := link(page + 1)
	if f, ok := r.struck[FaultNext]; ok {
		more = true
		trick := f.Next
		if trick == "" {
			trick = nextTricks[f.h%uint64(len(nextTricks))]
		}
		switch trick {
		case "host":
			next = "http://elsewhere.invalid" + r.URL.Path + "?page=" + strconv.Itoa(page+1)
		case "same":
			next = link(page)
		case "first":
			next = link(1)
		case "endless": // a next page even past the end
		default:
			next = trick
		}
	}
	orNull(`,"links":{"first":`, link(1), true)
	orNull(`,"last":`, "", false)
	orNull(`,"prev":`, link(page-1), page > 1)
	orNull(`,"next":`, next, more)
	b = fmt.Appendf(b, `},"meta":{"current_page":%d,"from":`, page)
	from := (page-1)*size + 1
	number := func(v int) {
		if n == 0 {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendInt(b, int64(v), 10)
		}
	}
	number(from)
	b = append(b, `,"path":`...)
	b = appendString(b, path)
	format := `,"per_page":%d,"to":`
	if s.cfg.PerPageString && perPageGiven {
		format = `,"per_page":"%d","to":`
	}
	b = fmt.Appendf(b, format, size)
	number(from + n - 1)
	return append(b, '}')
}

// duplicated repeats one record on the page, and the last one of the page before.
func (s *Simulator) duplicated(p *population, q Query, page []*session, h uint64) []*session {
	if len(page) == 0 {
		return page
	}
	out := make([]*session, 0, len(page)+2)
	if q.Page > 1 {
		x := p.selectSessions(q)
		before, _ := x.page(nil, q.Page-1, s.cfg.pageSize(q.PerPage), hash(s.cfg.Seed, 3, s.shuffles))
		out = append(out, before[len(before)-1])
	}
	at := int(h % uint64(len(page)))
	out = append(out, page[:at+1]...)
	return append(out, page[at:]...)
}

// damagedRecord returns the record damaged in a way that h picks, and whether all
// that matters in it can still be read.
func damagedRecord(record []byte, h uint64) (_ []byte, fit bool) {
	var m map[string]any
	if err := json.Unmarshal(record, &m); err != nil {
		panic(err) // appendRecord wrote it
	}
	switch h % 9 {
	case 0:
		delete(m, "id")
	case 1:
		m["location_id"] = nil
	case 2:
		m["id"] = []string{"pR3zOKmvzqe"}
	case 3:
		return []byte("null"), false
	case 4:
		return []byte(`"gone"`), false
	case 5:
		m["location_id"] = ""
	case 6:
		m["downloaded_data"], m["total_duration"] = nil, nil
	case 7:
		m["downloaded_data"], m["start_time"] = "a lot", "yesterday"
	default:
		m["connection_status_value"] = fmt.Sprint(m["connection_status_value"])
		m["access_point"] = map[string]any{"new": "field"}
		fit = true
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // made of what Unmarshal gave
	}
	return b, fit
}

type ipRecord struct {
	IP       string `json:"ip_address"`
	Username string `json:"username"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Duration int64  `json:"duration"`
}

// lookUpIPs answers GET /sessions/{ip[,ip…]}: an object for one address, an array
// for several, which leaves out those that nobody has.
func (s *Simulator) lookUpIPs(r *request, a *answer) {
	asked := strings.Split(r.ips, ",")
	if len(asked) > maxPerPage {
		a.fail(r, http.StatusUnprocessableEntity, "The ip address must not have more than 100 items.")
		return
	}
	var addresses []netip.Addr
	for _, text := range asked {
		if ip, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			addresses = append(addresses, ip)
		}
	}
	records, ok := s.lookUp(addresses, r.t)
	if !ok {
		a.fail(r, http.StatusNotFound, "No online session has this IP address.")
		return
	}
	found := make([]ipRecord, 0, len(records))
	for _, x := range records {
		right := recordOf(x.Address, x.guest, x.Duration)
		if f, struck := r.struck[FaultGuest]; struck {
			found = append(found, f.misname(right, x.Address)...)
			continue
		}
		found = append(found, right)
	}
	var body any = found
	if len(asked) == 1 && len(found) < 2 {
		if len(found) == 0 {
			a.fail(r, http.StatusNotFound, "No online session has this IP address.")
			return
		}
		body = found[0]
	}
	a.marshal(body)
}

func recordOf(ip netip.Addr, guest uint64, duration int64) ipRecord {
	who := personOf(guest)
	return ipRecord{ip.String(), who.username, who.name, who.email, duration}
}

// misname makes of the right answer for an address a wrong one.
func (f strike) misname(right ipRecord, ip netip.Addr) []ipRecord {
	h := hash(f.h, uint64(right.Duration))
	switch form := h % 3; {
	case form == 0 && right.Duration > 5: // the address passed on a moment ago
		return []ipRecord{recordOf(ip, mix(h), 0)}
	case form < 2: // the address is in use at another venue too
		return []ipRecord{recordOf(ip, mix(h), right.Duration+60+int64(h>>8%7200))}
	}
	return []ipRecord{recordOf(ip, mix(h), right.Duration), right}
}

type locationRecord struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Address string  `json:"address"`
	City    string  `json:"city"`
	Country string  `json:"country_code"`
	Lat     float64 `json:"lat"`
	Lng     float64 `json:"lng"`
	Trashed bool    `json:"is_trashed"`
}

func (s *Simulator) listLocations(r *request, a *answer) {
	q, given := queryOf(r.URL.Query())
	size := s.cfg.pageSize(q.PerPage)
	all := s.cfg.Locations
	from := len(all)
	if q.Page-1 <= len(all)/size {
		from = min((q.Page-1)*size, len(all))
	}
	page := all[from:min(from+size, len(all))]
	records := make([]locationRecord, len(page))
	for i, l := range page {
		h := hash(70, uint64(from+i))
		records[i] = locationRecord{
			ID: l.ID, Name: l.Name, Address: fmt.Sprintf("%d Harbour Street", 1+h%200), City: l.City,
			Country: l.Country, Lat: 36 + float64(h%600_000)/1e5, Lng: 26 + float64(mix(h)%1_800_000)/1e5,
		}
	}
	a.marshal(records)
	a.body = append(s.envelope(append([]byte(`{"data":`), a.body...), r, q, len(page), from+size < len(all), given), '}')
}

func (a *answer) marshal(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	a.body = b
}
