// Package journal owns the bytes of the log: positions, frames and records, and
// the postings that find a filter's records again. It is pure: it never reads or
// writes a store, and it never looks inside a message.
package journal

import "fmt"

// A Position names one record of the log: the sequence of its frame and its
// index in the frame. Positions are ordered as the log is.
type Position uint64

// indexBits is how many low bits of a Position hold the index in the frame.
const indexBits = 16

// MaxRecords is the most records that one frame may hold.
const MaxRecords = 1 << indexBits

// At returns the position of record index in frame seq.
func At(seq uint64, index int) Position {
	return Position(seq<<indexBits | uint64(index))
}

// Seq is the sequence of the frame, as the log counts frames: from 1.
func (p Position) Seq() uint64 { return uint64(p) >> indexBits }

// Index is the record's place in its frame, from 0.
func (p Position) Index() int { return int(p & (MaxRecords - 1)) }

// String renders the position as "sequence/index".
func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Seq(), p.Index()) }
