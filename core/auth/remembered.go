package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// DefaultRemembered is how many verified logins a process remembers: about
// 8 MiB when full.
const DefaultRemembered = 65536

// Remembered makes a storm of reconnects cheap: a plain login that was
// verified once is recognised by a keyed hash instead of being stretched
// again. The key is random, lives in this process alone and is never stored,
// so the table is worthless to whoever reads the disk. An entry covers the
// account, the verifier and the password, so a changed verifier leaves its
// old entries unreachable; they age out. Only verified logins enter, so a
// guesser can neither fill nor probe it.
//
// It is safe for concurrent use.
type Remembered struct {
	key      [32]byte // set once
	capacity int      // set once

	mu    sync.Mutex          // guards all below; no hashing under it
	index map[loginDigest]int // digest -> place in slots
	slots []rememberedLogin   // at most capacity; when full the clock hand evicts
	hand  int                 // next slot that eviction looks at
}

type loginDigest [sha256.Size]byte

type rememberedLogin struct {
	digest loginDigest
	used   bool // seen since the hand last passed
}

// NewRemembered makes an empty memory for capacity logins (at least 1) under
// a fresh key from rand. The error is that of rand.
func NewRemembered(rand io.Reader, capacity int) (*Remembered, error) {
	r := &Remembered{capacity: max(capacity, 1), index: map[loginDigest]int{}}
	if _, err := io.ReadFull(rand, r.key[:]); err != nil {
		return nil, fmt.Errorf("reading a random key for remembered logins: %w", err)
	}
	return r, nil
}

// Check reports whether password opens the account, whose current verifier is
// v: at once when this login was verified before, else by [Verifier.CheckPlain].
func (r *Remembered) Check(account string, v Verifier, password string) bool {
	digest, ok := r.digest(account, v, password)
	if !ok {
		return false
	}
	if r.known(digest) {
		return true
	}
	if !v.CheckPlain(password) {
		return false
	}
	r.remember(digest)
	return true
}

// Len is how many logins are remembered.
func (r *Remembered) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.slots)
}

// digest covers each field with its length, so that no two logins share one.
func (r *Remembered) digest(account string, v Verifier, password string) (loginDigest, bool) {
	id, err := v.MarshalText()
	if err != nil || len(password) > MaxPassword {
		return loginDigest{}, false
	}
	h := hmac.New(sha256.New, r.key[:])
	var size [8]byte
	for _, field := range []string{account, string(id), password} {
		binary.BigEndian.PutUint64(size[:], uint64(len(field)))
		h.Write(size[:])
		h.Write([]byte(field))
	}
	var d loginDigest
	h.Sum(d[:0])
	return d, true
}

func (r *Remembered) known(d loginDigest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.index[d]
	if ok {
		r.slots[at].used = true
	}
	return ok
}

// remember enters d. When the table is full it replaces the first login under
// the clock hand that was not used since the hand last passed.
func (r *Remembered) remember(d loginDigest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.index[d]; ok {
		return
	}
	if len(r.slots) < r.capacity {
		r.index[d] = len(r.slots)
		r.slots = append(r.slots, rememberedLogin{digest: d})
		return
	}
	for r.slots[r.hand].used {
		r.slots[r.hand].used = false
		r.hand = (r.hand + 1) % r.capacity
	}
	delete(r.index, r.slots[r.hand].digest)
	r.slots[r.hand] = rememberedLogin{digest: d}
	r.index[d] = r.hand
	r.hand = (r.hand + 1) % r.capacity
}
