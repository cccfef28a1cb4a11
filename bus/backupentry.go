package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pushhub/core"
)

// Inspect reads a whole backup from r, and returns what it holds, or ErrBackup
// when it is none, or cut short, or damaged anywhere.
func Inspect(r io.Reader) (BackupInfo, error) {
	b, err := newBackupReader(r)
	if err != nil {
		return BackupInfo{}, err
	}
	for {
		e, err := b.next()
		if err != nil {
			return BackupInfo{}, err
		}
		if e.kind == entryEnd {
			return b.info, nil
		}
	}
}

// pair reads the two strings of an extra, a row or a frame.
func (b *backupReader) pair(e *backupEntry) error {
	key, err := b.field()
	if err != nil {
		return err
	}
	e.key = string(key)
	e.value, err = b.field()
	return err
}

func (b *backupReader) readExtra(e *backupEntry) error {
	if err := b.pair(e); err != nil {
		return err
	}
	if len(b.info.Extras) == maxExtras || len(e.value) > maxExtraBytes {
		return damaged("too much beside the rows and the log")
	}
	b.info.Extras = append(b.info.Extras, Extra{e.key, e.value})
	return nil
}

func (b *backupReader) readBucket() error {
	name, err := b.field()
	if err != nil {
		return err
	}
	b.bucket = string(name)
	if !slices.Contains(buckets, b.bucket) {
		return damaged("bucket %.40q is unknown", b.bucket)
	}
	return nil
}

func (b *backupReader) readRow(e *backupEntry) error {
	if err := b.pair(e); err != nil {
		return err
	}
	if err := checkRows(b.bucket, []core.Row{{Key: e.key}}); err != nil {
		return damaged("a row: %w", err)
	}
	b.info.Rows[b.bucket]++
	if b.bucket == core.BucketAccounts && core.IsDocument(e.key) {
		b.info.Documents++
	}
	b.rows++
	b.info.largest = max(b.info.largest, len(e.value))
	return nil
}

func (b *backupReader) readBounds() error {
	first, err := b.number()
	if err != nil {
		return err
	}
	last, err := b.number()
	if err != nil {
		return err
	}
	if first == 0 || last+1 == 0 || first > last+1 {
		return damaged("a log from %d to %d", first, last)
	}
	b.info.First, b.info.Last = first, last
	b.seq = first - 1
	return nil
}

func (b *backupReader) readFrame(e *backupEntry) error {
	var err error
	if e.seq, err = b.number(); err != nil {
		return err
	}
	if err := b.pair(e); err != nil {
		return err
	}
	lane, ok := strings.CutPrefix(e.key, subjectPrefix)
	if !ok || lane == "" || len(lane) > maxKeyBytes || strings.ContainsAny(lane, ".*> \t\r\n\x00") {
		return damaged("frame %d on subject %.40q", e.seq, e.key)
	}
	if e.seq <= b.seq || e.seq > b.info.Last {
		return damaged("frame %d behind frame %d, in a log that ends at %d", e.seq, b.seq, b.info.Last)
	}
	b.seq = e.seq
	b.info.Frames++
	b.info.FrameBytes += int64(len(e.value))
	b.info.largest = max(b.info.largest, len(e.value))
	return nil
}

// readEnd compares the numbers and the sum, behind which nothing may come.
func (b *backupReader) readEnd() error {
	for _, want := range []struct {
		what string
		n    int
	}{{"extras", len(b.info.Extras)}, {"rows", b.rows}, {"frames", b.info.Frames}} {
		n, err := b.number()
		if err != nil {
			return err
		}
		if n != uint64(want.n) {
			return damaged("it holds %d %s, not %d", want.n, want.what, n)
		}
	}
	if b.seq != b.info.Last {
		return damaged("its log ends with frame %d, not %d", b.seq, b.info.Last)
	}
	sum := b.sum
	stored, err := b.bytes(4)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(stored) != sum {
		return damaged("its checksum is wrong")
	}
	_, err = b.in.ReadByte()
	if err == nil {
		return damaged("bytes follow its end")
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the backup: %w", err)
	}
	b.info.Bytes = b.read
	return nil
}
