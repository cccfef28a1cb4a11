package core

import "sync"

// A recordBuffer is the memory in which a record is encoded before the journal copies it.
type recordBuffer struct{ b, account, resource []byte }

var recordBuffers = sync.Pool{New: func() any { return new(recordBuffer) }}
