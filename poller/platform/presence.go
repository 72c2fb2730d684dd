package platform

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// presence is what a record says of whether its session is online.
type presence struct {
	value, word             answer
	valueSample, wordSample string // of what is neither
}

type answer int

const (
	neither answer = iota
	yes
	no
)

// valued reads connection_status_value.
func (p *presence) valued(v jsontext.Value) {
	p.valueSample = ""
	switch strings.Trim(string(v), `"`) {
	case "1", "true":
		p.value = yes
	case "0", "false":
		p.value = no
	default:
		p.value, p.valueSample = neither, sampleOf(v)
	}
}

// said reads connection_status.
func (p *presence) said(v jsontext.Value) {
	p.wordSample = ""
	switch word := text(v); {
	case strings.EqualFold(word, "online"):
		p.word = yes
	case strings.EqualFold(word, "offline"):
		p.word = no
	default:
		p.word, p.wordSample = neither, sampleOf(v)
	}
}

// online takes the surest of the value, the word, what was asked for, and the end.
func (p *presence) online(q Query, r *reading, unread *tally) bool {
	value := Unread{Field: statusValueName, Sample: p.valueSample}
	if value.Sample != "" && !(p.word != neither && value.Blank()) {
		unread.add(value.Field, value.Sample, 1)
	}
	// A word in another language harms nothing beside a value.
	if p.wordSample != "" && p.value == neither {
		unread.add(statusName, p.wordSample, 1)
	}
	switch {
	case p.value != neither:
		return p.value == yes
	case p.word != neither:
		return p.word == yes
	case q.Online != nil:
		return *q.Online
	}
	// Offline would be a reported end, which wants more than a missing field.
	return r.end.at.IsZero()
}
