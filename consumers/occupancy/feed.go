package occupancy

import "sync"

// ring holds the latest frames. Every client has a position in it and nothing of
// its own, so a thousand clients cost as much as their connections. One writer,
// many readers.
type ring struct {
	limit int

	mu     sync.Mutex
	frames []*frame
	first  uint64 // position of frames[0]
	bytes  int
	grown  chan struct{} // closed when a frame is added; made when somebody waits
	// epoch names the stream that the sequences belong to.
	epoch string
}

func newRing(limit int) *ring { return &ring{limit: limit} }

// add appends a frame and drops the oldest ones beyond the limit.
func (l *ring) add(f *frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames = append(l.frames, f)
	l.bytes += f.size()
	drop := 0
	for l.bytes > l.limit && drop < len(l.frames)-1 {
		l.bytes -= l.frames[drop].size()
		l.frames[drop] = nil
		drop++
	}
	l.frames = l.frames[drop:]
	l.first += uint64(drop)
	l.wake()
}

func (l *ring) wake() {
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// restart empties the log for a stream that is another one. Readers find that
// they have fallen out of it.
func (l *ring) restart(epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == epoch {
		return
	}
	first := l.epoch == ""
	l.epoch = epoch
	if first {
		return
	}
	l.first += uint64(len(l.frames)) + 1
	l.frames, l.bytes = nil, 0
	l.wake()
}

// clear drops what there is. Readers find that they have fallen out of it.
func (l *ring) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first += uint64(len(l.frames)) + 1
	l.frames, l.bytes = nil, 0
	l.wake()
}

// read appends the frames from a position on to list, at most cap(list) of them,
// and returns the position after them. With nothing to read it returns a channel
// that is closed when there is. It reports false when the position is no longer
// held.
func (l *ring) read(position uint64, list []*frame) (out []*frame, next uint64, grown <-chan struct{}, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.first + uint64(len(l.frames))
	if position < l.first || position > end {
		return list, position, nil, false
	}
	if position == end {
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		return list, position, l.grown, true
	}
	n := min(end-position, uint64(cap(list)))
	list = append(list, l.frames[position-l.first:position-l.first+n]...)
	return list, position + n, nil, true
}

// end returns the position after the newest frame, and the epoch.
func (l *ring) end() (position uint64, epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first + uint64(len(l.frames)), l.epoch
}

// after returns the position of the first frame whose sequence is greater than
// the given one, and the sequence of the log's oldest event: what lies between
// the two sequences is not in the log. With no event in it, oldest is zero.
func (l *ring) after(sequence uint64) (position, oldest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	position = l.first + uint64(len(l.frames))
	for i := len(l.frames) - 1; i >= 0; i-- {
		if s := l.frames[i].sequence; s > 0 {
			oldest = s
			if s > sequence {
				position = l.first + uint64(i)
			}
		}
	}
	return position, oldest
}

// latest returns the position from which on there are n frames that are wanted, or all.
func (l *ring) latest(n int, wanted func(*frame) bool) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(l.frames)
	for i > 0 && n > 0 {
		if i--; wanted(l.frames[i]) {
			n--
		}
	}
	return l.first + uint64(i)
}
