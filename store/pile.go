package store

import (
	"encoding/binary"
	"strings"
)

// pile keeps texts in chunks of many, since the garbage collector looks at each thing that
// is pointed at: of a million texts that lie about in memory, that is most of what a first
// reading costs. No text is written over, so what was cut out of one stays as it is.
type pile struct {
	chunks []chunk
	free   []uint32         // places without a chunk
	open   *strings.Builder // the chunk that is being filled
	at     uint32           // its place
	size   int              // bytes of the texts that are kept
}

type chunk struct {
	text string
	kept int // bytes of the texts in it that are kept
}

// spot is where a text lies.
type spot struct{ chunk, at uint32 }

// A pile has chunks of an eighth of it, within these bounds.
const (
	leastPiled = 1 << 10
	mostPiled  = 32 << 10
)

// add keeps a text.
func (p *pile) add(text string) spot {
	var head [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(len(text)))
	if size := n + len(text); p.open == nil || p.open.Cap()-p.open.Len() < size {
		p.begin(max(size, min(mostPiled, max(leastPiled, p.size/8))))
	}
	s := spot{p.at, uint32(p.open.Len())}
	p.open.Write(head[:n])
	p.open.WriteString(text)
	c := &p.chunks[p.at]
	c.text = p.open.String()
	c.kept += len(text)
	p.size += len(text)
	return s
}

// begin begins a chunk.
func (p *pile) begin(size int) {
	if p.open != nil && p.chunks[p.at].kept == 0 {
		p.drop(p.at)
	}
	p.open = &strings.Builder{}
	p.open.Grow(size)
	if n := len(p.free); n > 0 {
		p.at, p.free = p.free[n-1], p.free[:n-1]
		return
	}
	p.at = uint32(len(p.chunks))
	p.chunks = append(p.chunks, chunk{})
}

// drop lets a chunk go.
func (p *pile) drop(at uint32) {
	p.size -= p.chunks[at].kept
	p.chunks[at] = chunk{}
	p.free = append(p.free, at)
}

// text returns what lies at a spot.
func (p *pile) text(s spot) string {
	in := packed(p.chunks[s.chunk].text[s.at:])
	n := in.uvarint()
	return string(in[:n])
}

// remove lets a text go, and reports whether so much of its chunk is of no use any more
// that the rest should go elsewhere.
func (p *pile) remove(s spot) (sparse bool) {
	n, c := len(p.text(s)), &p.chunks[s.chunk]
	c.kept -= n
	p.size -= n
	return s.chunk != p.at && c.kept < len(c.text)/4*3
}

// each calls f with all texts of a chunk, those that are not kept any more as well.
func (p *pile) each(at uint32, f func(s spot, text string)) {
	all := p.chunks[at].text
	for in := packed(all); len(in) > 0; {
		s := spot{at, uint32(len(all) - len(in))}
		n := in.uvarint()
		f(s, string(in[:n]))
		in = in[n:]
	}
}
