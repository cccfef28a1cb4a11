package bus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"pushhub/core"
)

// A backup file is
//
//	"PUSHHUB BACKUP\n" version(1) time(uvarint, ms) size(uvarint, about)
//	{ 'E' name bytes }*                   extras, which the hub's owner carries along
//	{ 'B' bucket { 'R' key value }* }*    rows, in the order in which they were written
//	'L' first last                        the bounds of the log: what was there before first is gone
//	{ 'F' sequence subject frame }*       frames, in order
//	'Z' extras rows frames                their numbers
//	CRC-32C(4, big endian, of all that precedes it)
//
// Numbers are uvarints, strings have one before them. A row may come again; the
// last one counts. Nothing follows the sum, so that a file which was cut short,
// or damaged anywhere, is known before it is used.
const (
	backupMagic   = "PUSHHUB BACKUP\n"
	backupVersion = 1

	entryExtra  = 'E'
	entryBucket = 'B'
	entryRow    = 'R'
	entryLog    = 'L'
	entryFrame  = 'F'
	entryEnd    = 'Z'

	maxExtras     = 16
	maxExtraBytes = 1 << 20
	maxField      = 1 << 30 // bytes; no record is bigger, whatever the settings
)

// ErrBackup is returned for a file that is no backup, or not a whole and unharmed one.
var ErrBackup = errors.New("it is not a whole backup")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An Extra is a small file that travels in a backup, opaque to the store: at
// most 16 of them, of 1 MiB each.
type Extra struct {
	Name  string
	Bytes []byte
}

// BackupInfo is what a backup holds.
type BackupInfo struct {
	Time        time.Time
	Rows        map[string]int // by bucket; a row that came twice counts once for each time
	Documents   int            // of accounts, among the rows of core.BucketAccounts
	First, Last uint64         // bounds of the log; an empty one has First = Last+1
	Frames      int
	FrameBytes  int64
	Bytes       int64 // of the file
	Extras      []Extra

	largest int // bytes of the largest row or frame
}

// backupWriter writes the format; the first error stays.
type backupWriter struct {
	out                 *bufio.Writer
	sum                 uint32
	buf                 []byte
	extras, rows, count int
	err                 error
}

func newBackupWriter(w io.Writer, now time.Time, about uint64) *backupWriter {
	b := &backupWriter{out: bufio.NewWriterSize(w, 256<<10)}
	b.write(append([]byte(backupMagic), backupVersion))
	b.write(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(now.UnixMilli())), about))
	return b
}

func (b *backupWriter) write(p []byte) {
	if b.err != nil {
		return
	}
	b.sum = crc32.Update(b.sum, castagnoli, p)
	if _, err := b.out.Write(p); err != nil {
		b.err = fmt.Errorf("writing the backup: %w", err)
	}
}

// entry writes a kind and its numbers, then its strings.
func (b *backupWriter) entry(kind byte, numbers []uint64, fields ...[]byte) error {
	b.buf = append(b.buf[:0], kind)
	for _, n := range numbers {
		b.buf = binary.AppendUvarint(b.buf, n)
	}
	for _, f := range fields {
		b.buf = binary.AppendUvarint(b.buf, uint64(len(f)))
		b.write(b.buf)
		b.write(f)
		b.buf = b.buf[:0]
	}
	b.write(b.buf)
	return b.err
}

func (b *backupWriter) extra(e Extra) error {
	if b.extras++; b.extras > maxExtras || len(e.Bytes) > maxExtraBytes {
		return fmt.Errorf("carrying %s: only %d extras of %d bytes are allowed", e.Name, maxExtras, maxExtraBytes)
	}
	return b.entry(entryExtra, nil, []byte(e.Name), e.Bytes)
}

func (b *backupWriter) bucket(name string) error { return b.entry(entryBucket, nil, []byte(name)) }

func (b *backupWriter) row(r core.Row) error {
	b.rows++
	return b.entry(entryRow, nil, []byte(r.Key), r.Value)
}

func (b *backupWriter) bounds(first, last uint64) error {
	return b.entry(entryLog, []uint64{first, last})
}

func (b *backupWriter) frame(seq uint64, subject string, frame []byte) error {
	b.count++
	return b.entry(entryFrame, []uint64{seq}, []byte(subject), frame)
}

func (b *backupWriter) end() error {
	_ = b.entry(entryEnd, []uint64{uint64(b.extras), uint64(b.rows), uint64(b.count)}) // the error stays
	b.write(binary.BigEndian.AppendUint32(nil, b.sum))
	if b.err != nil {
		return b.err
	}
	if err := b.out.Flush(); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

// backupReader reads the format, and checks its order, its numbers and its sum.
type backupReader struct {
	in     *bufio.Reader
	sum    uint32
	read   int64
	info   BackupInfo
	rows   int
	bucket string
	state  byte // kind of the last entry; 0: none yet
	seq    uint64
}

// A backupEntry is one entry of a backup: an extra, a row, a frame, or the end.
type backupEntry struct {
	kind  byte
	key   string // name of the extra, key of the row, subject of the frame
	value []byte
	seq   uint64
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBackup, fmt.Errorf(format, args...))
}

func newBackupReader(r io.Reader) (*backupReader, error) {
	b := &backupReader{in: bufio.NewReaderSize(r, 256<<10), info: BackupInfo{Rows: map[string]int{}}}
	head, err := b.bytes(uint64(len(backupMagic) + 1))
	if err != nil {
		return nil, err
	}
	if string(head[:len(backupMagic)]) != backupMagic {
		return nil, damaged("it does not begin like one")
	}
	if v := head[len(backupMagic)]; v != backupVersion {
		return nil, fmt.Errorf("the backup has format %d, this pushhub reads %d: use the version of pushhub that made it", v, backupVersion)
	}
	ms, err := b.number()
	if err != nil {
		return nil, err
	}
	b.info.Time = time.UnixMilli(int64(ms))
	_, err = b.number() // about how many bytes the log had
	return b, err
}

// bytes reads n bytes. It takes no memory for bytes that do not come.
func (b *backupReader) bytes(n uint64) ([]byte, error) {
	if n > maxField {
		return nil, damaged("a field of %d bytes", n)
	}
	var p []byte
	var err error
	if n <= 64<<10 {
		p = make([]byte, n)
		_, err = io.ReadFull(b.in, p)
	} else {
		var buf bytes.Buffer
		_, err = io.CopyN(&buf, b.in, int64(n))
		p = buf.Bytes()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, damaged("it is cut short after %d bytes", b.read)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	b.sum = crc32.Update(b.sum, castagnoli, p)
	b.read += int64(n)
	return p, nil
}

func (b *backupReader) byte() (byte, error) {
	p, err := b.bytes(1)
	if err != nil {
		return 0, err
	}
	return p[0], nil
}

func (b *backupReader) number() (n uint64, err error) {
	for shift := 0; shift < 64; shift += 7 {
		c, err := b.byte()
		if err != nil {
			return 0, err
		}
		n |= uint64(c&0x7F) << shift
		if c < 0x80 {
			return n, nil
		}
	}
	return 0, damaged("a number without end, at byte %d", b.read)
}

func (b *backupReader) field() ([]byte, error) {
	n, err := b.number()
	if err != nil {
		return nil, err
	}
	return b.bytes(n)
}

// next returns the next extra, row or frame; the end comes last.
func (b *backupReader) next() (backupEntry, error) {
	for {
		kind, err := b.byte()
		if err != nil {
			return backupEntry{}, err
		}
		if !follows(b.state, kind) {
			return backupEntry{}, damaged("an entry %q where none may be, at byte %d", kind, b.read)
		}
		b.state = kind
		e := backupEntry{kind: kind}
		switch kind {
		case entryExtra:
			return e, b.readExtra(&e)
		case entryRow:
			return e, b.readRow(&e)
		case entryFrame:
			return e, b.readFrame(&e)
		case entryEnd:
			return e, b.readEnd()
		case entryBucket:
			err = b.readBucket()
		case entryLog:
			err = b.readBounds()
		}
		if err != nil {
			return e, err
		}
	}
}

// follows reports whether an entry may come behind another.
func follows(last, kind byte) bool {
	switch kind {
	case entryExtra:
		return last == 0 || last == entryExtra
	case entryBucket, entryLog:
		return last == 0 || last == entryExtra || last == entryBucket || last == entryRow
	case entryRow:
		return last == entryBucket || last == entryRow
	case entryFrame, entryEnd:
		return last == entryLog || last == entryFrame
	}
	return false
}
