package store

// arena has room for the records of one transaction after the other: bbolt refers to them
// until the transaction ends, and no longer.
type arena struct {
	chunks [][]byte // filled up to their length
	at     int      // of the chunk that is being filled
}

const (
	chunkSize = 64 << 10
	// mostChunks is how many are kept for the next transaction: those of one that writes
	// mostTogether arrivals.
	mostChunks = 16
)

// reset begins anew: nobody refers to any record any more.
func (a *arena) reset() {
	if len(a.chunks) > mostChunks {
		clear(a.chunks[mostChunks:])
		a.chunks = a.chunks[:mostChunks]
	}
	for i := range a.chunks {
		a.chunks[i] = a.chunks[i][:0]
	}
	a.at = 0
}

// room returns an empty slice to append a record to, of so many bytes at least; keep takes
// what came of it.
func (a *arena) room(size int) []byte {
	for ; a.at < len(a.chunks); a.at++ {
		if c := a.chunks[a.at]; cap(c)-len(c) >= size {
			return c[len(c):]
		}
	}
	a.chunks = append(a.chunks, make([]byte, 0, max(chunkSize, size)))
	return a.chunks[a.at]
}

// keep keeps a record that was appended to the newest room. One that was larger lies
// elsewhere already.
func (a *arena) keep(record []byte) []byte {
	c := a.chunks[a.at]
	if n := len(c) + len(record); n <= cap(c) {
		a.chunks[a.at] = c[:n]
	}
	return record[:len(record):len(record)]
}
