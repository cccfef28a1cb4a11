package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A frame is what the log stores at once:
//
//	"PHF" version(1)  CRC-32C(4, of all that follows)  count(2)  { uvarint length, record }*
//
// Integers are big endian.
const (
	frameVersion = 1
	headerLen    = 10
)

// ErrCorrupt is returned for bytes that are not a whole, unharmed frame or record.
var ErrCorrupt = errors.New("journal: corrupt")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Frame is built by adding records to it. The zero Frame is empty and ready.
type Frame struct {
	buf   []byte
	count int
}

// Add appends a copy of rec. It reports false, changing nothing, when the frame
// already holds MaxRecords.
func (f *Frame) Add(rec []byte) bool {
	if f.count == MaxRecords-1 {
		return false
	}
	if f.buf == nil {
		f.buf = make([]byte, headerLen, 4096)
	}
	f.buf = binary.AppendUvarint(f.buf, uint64(len(rec)))
	f.buf = append(f.buf, rec...)
	f.count++
	return true
}

// Count is how many records the frame holds.
func (f *Frame) Count() int { return f.count }

// Size is the frame's length in bytes as it would be stored.
func (f *Frame) Size() int { return len(f.buf) }

// Bytes seals the frame and returns it; it is valid until the next Add or Reset.
func (f *Frame) Bytes() []byte {
	if f.buf == nil {
		f.buf = make([]byte, headerLen)
	}
	copy(f.buf, "PHF")
	f.buf[3] = frameVersion
	binary.BigEndian.PutUint16(f.buf[8:], uint16(f.count))
	binary.BigEndian.PutUint32(f.buf[4:], crc32.Checksum(f.buf[8:], castagnoli))
	return f.buf
}

// Reset empties the frame and keeps its memory.
func (f *Frame) Reset() {
	f.count = 0
	if f.buf != nil {
		f.buf = f.buf[:headerLen]
	}
}

// Split checks a stored frame and returns its records, which alias frame.
func Split(frame []byte) ([][]byte, error) {
	if len(frame) < headerLen || string(frame[:3]) != "PHF" {
		return nil, fmt.Errorf("%w: no frame header", ErrCorrupt)
	}
	if frame[3] != frameVersion {
		return nil, fmt.Errorf("%w: frame version %d is unknown", ErrCorrupt, frame[3])
	}
	if crc32.Checksum(frame[8:], castagnoli) != binary.BigEndian.Uint32(frame[4:]) {
		return nil, fmt.Errorf("%w: checksum differs", ErrCorrupt)
	}
	count := int(binary.BigEndian.Uint16(frame[8:]))
	rest := frame[headerLen:]
	if count > len(rest) {
		return nil, fmt.Errorf("%w: %d records cannot fit", ErrCorrupt, count)
	}
	recs := make([][]byte, 0, count)
	for range count {
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w) {
			return nil, fmt.Errorf("%w: record %d runs over the end", ErrCorrupt, len(recs))
		}
		recs = append(recs, rest[w:w+int(n):w+int(n)])
		rest = rest[w+int(n):]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes after the last record", ErrCorrupt, len(rest))
	}
	return recs, nil
}
