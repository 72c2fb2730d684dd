package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

func decodeCount(body []byte) (int, error) {
	var answer struct {
		Count *json.RawMessage `json:"count"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("not the JSON object that is documented: %w", err)
	}
	if answer.Count == nil {
		return 0, errors.New("no count")
	}
	n, err := strconv.Atoi(strings.Trim(string(*answer.Count), `"`))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("count %s is not a number from 0 on", clipped(string(*answer.Count)))
	}
	return n, nil
}

// Guest is who is behind an IP address at the moment.
type Guest struct {
	IP, Username, Name, Email string
	Duration                  int64 // seconds of the live connection
}

// MaxIPs is the documented maximum of addresses a request.
const MaxIPs = 100

// Guests looks up the guests behind up to MaxIPs addresses. One address is
// answered by an object, several by an array; either is understood. Answers for
// addresses that were not asked for are dropped, and all of an address whose
// answers name different guests; addresses without an answer are simply missing.
func (c *Client) Guests(ctx context.Context, ips []string) ([]Guest, Meta, error) {
	if len(ips) == 0 || len(ips) > MaxIPs {
		return nil, Meta{}, fmt.Errorf("guests: %d addresses: ask for 1 to %d", len(ips), MaxIPs)
	}
	asked := make(map[string]bool, len(ips))
	list := make([]string, 0, len(ips))
	for _, ip := range ips {
		addr, err := netip.ParseAddr(ip)
		if err != nil {
			return nil, Meta{}, fmt.Errorf("guests: %q is not an IP address", clipped(ip))
		}
		text := addr.Unmap().WithZone("").String()
		if !asked[text] {
			asked[text] = true
			list = append(list, text)
		}
	}
	body, m, err := c.get(ctx, Guests, "/sessions/"+strings.Join(list, ","), nil)
	if err != nil {
		return nil, m, err
	}
	guests, err := decodeGuests(body, list)
	if err != nil {
		return nil, m, c.malformed(Guests, m, body, err)
	}
	for i := range guests {
		g := &guests[i]
		if f := c.cfg.Forget; f != nil && f(Identity{Email: g.Email}, nil) {
			*g = Guest{IP: g.IP}
			continue
		}
		// A user name tells as much as a name does.
		g.Username = c.cfg.Privacy.apply(c.cfg.Privacy.Name, g.Username)
		g.Name = c.cfg.Privacy.apply(c.cfg.Privacy.Name, g.Name)
		g.Email = c.cfg.Privacy.apply(c.cfg.Privacy.Email, g.Email)
	}
	return guests, m, nil
}

func decodeGuests(body []byte, asked []string) ([]Guest, error) {
	var records []json.RawMessage
	if strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "[") {
		if err := json.Unmarshal(body, &records); err != nil {
			return nil, fmt.Errorf("not the array that is documented: %w", err)
		}
	} else {
		var one map[string]json.RawMessage
		if err := json.Unmarshal(body, &one); err != nil {
			return nil, fmt.Errorf("not the object that is documented: %w", err)
		}
		records = []json.RawMessage{body}
	}
	var guests []Guest
	var disputed []string
	at := make(map[string]int, len(asked)) // in guests
	for _, r := range records {
		g, ok := guest(r)
		if g.IP == "" && ok && len(asked) == 1 && len(records) == 1 {
			// The address is documented for several alone.
			g.IP = asked[0]
		}
		if g.IP == "" || !slices.Contains(asked, g.IP) {
			continue
		}
		if i, again := at[g.IP]; again {
			if !g.same(guests[i]) {
				// Nobody can say which of them it is.
				guests[i] = Guest{IP: g.IP}
				disputed = append(disputed, g.IP)
			}
			continue
		}
		at[g.IP] = len(guests)
		guests = append(guests, g)
	}
	guests = slices.DeleteFunc(guests, func(g Guest) bool { return slices.Contains(disputed, g.IP) })
	return guests, nil
}

// same reports whether two answers are about the same connection of the same
// guest; a second may pass between them.
func (g Guest) same(o Guest) bool {
	apart := g.Duration - o.Duration
	return g.Username == o.Username && g.Name == o.Name && g.Email == o.Email && apart >= -1 && apart <= 1
}

// guest reads one record; ok says that it has no address at all, but something
// else about a guest.
func guest(r json.RawMessage) (g Guest, ok bool) {
	var record struct {
		IP       json.RawMessage `json:"ip_address"`
		Username json.RawMessage `json:"username"`
		Name     json.RawMessage `json:"name"`
		Email    json.RawMessage `json:"email"`
		Duration json.RawMessage `json:"duration"`
	}
	if json.Unmarshal(r, &record) != nil {
		return Guest{}, false
	}
	g = Guest{Username: identity(jsontext.Value(record.Username)), Name: text(jsontext.Value(record.Name)), Email: text(jsontext.Value(record.Email))}
	if n, err := strconv.ParseFloat(scalar(jsontext.Value(record.Duration)), 64); err == nil && n >= 0 && n < 1<<40 {
		g.Duration = int64(n)
	}
	if addr, err := netip.ParseAddr(text(jsontext.Value(record.IP))); err == nil {
		g.IP = addr.Unmap().WithZone("").String()
	}
	missing := len(record.IP) == 0 || string(record.IP) == "null"
	return g, missing && g != (Guest{})
}

// Location is a venue of the account.
type Location struct {
	ID, Name string
	Trashed  bool
}

// LocationPage is one page of locations.
type LocationPage struct {
	Meta
	Locations []Location
	Skipped   int // records without an id
	More      bool
}

// Locations asks for one page of the account's locations, counted from 1.
func (c *Client) Locations(ctx context.Context, page int) (LocationPage, error) {
	v := url.Values{"per_page": {strconv.Itoa(MaxPerPage)}, "page": {strconv.Itoa(max(1, page))}}
	body, m, err := c.get(ctx, Locations, "/locations", v)
	if err != nil {
		return LocationPage{Meta: m}, err
	}
	p, err := decodeLocations(body)
	p.Meta = m
	if err != nil {
		return LocationPage{Meta: m}, c.malformed(Locations, m, body, err)
	}
	return p, nil
}

func decodeLocations(body []byte) (LocationPage, error) {
	var answer struct {
		Data  []json.RawMessage `json:"data"`
		Links json.RawMessage   `json:"links"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return LocationPage{}, fmt.Errorf("not the list that is documented: %w", err)
	}
	if answer.Data == nil {
		return LocationPage{}, errors.New("no list named data")
	}
	var links struct {
		Next any `json:"next"`
	}
	_ = json.Unmarshal(answer.Links, &links) // of another type: none
	p := LocationPage{More: links.Next != nil && links.Next != "" && links.Next != false}
	for _, data := range answer.Data {
		var r map[string]json.RawMessage
		_ = json.Unmarshal(data, &r) // of another type: without an id
		l := Location{ID: identity(jsontext.Value(r["id"])), Name: text(jsontext.Value(r["name"]))}
		if checkID(l.ID) != nil {
			p.Skipped++
			continue
		}
		switch strings.Trim(string(r["is_trashed"]), `"`) {
		case "true", "1":
			l.Trashed = true
		}
		p.Locations = append(p.Locations, l)
	}
	return p, nil
}
