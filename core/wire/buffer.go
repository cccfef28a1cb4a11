package wire

import "sync"

// classes are the capacities of out-buffers. A queue that grows moves from class
// to class, so that no memory is made or thrown away while traffic flows.
var classes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10}

// spare is the room that is made for bytes whose number is not known.
const spare = 512

// A buffer is one piece of an out-queue. What does not fit the largest class is
// of its own size, and not kept.
type buffer struct{ b []byte }

var pools [len(classes)]sync.Pool

// newBuffer returns an empty buffer with room for n bytes.
func newBuffer(n int) *buffer {
	for i, size := range classes {
		if n > size {
			continue
		}
		if f, ok := pools[i].Get().(*buffer); ok {
			return f
		}
		return &buffer{make([]byte, 0, size)}
	}
	return &buffer{make([]byte, 0, n+n/4)}
}

// reserve returns f, or a larger buffer in its place, with room for n more bytes.
func (f *buffer) reserve(n int) *buffer {
	n = max(n, spare)
	if cap(f.b)-len(f.b) >= n {
		return f
	}
	g := newBuffer(len(f.b) + n)
	g.b = append(g.b, f.b...)
	f.free()
	return g
}

func (f *buffer) free() {
	for i, size := range classes {
		if cap(f.b) == size {
			f.b = f.b[:0]
			pools[i].Put(f)
			return
		}
	}
}
