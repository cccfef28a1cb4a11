package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"pushhub/core"
)

// memRows implements core.Rows in memory.
type memRows struct {
	mu      sync.Mutex // guards all fields
	buckets map[string]map[string][]byte
	fail    error
}

func newMemRows() *memRows {
	m := &memRows{buckets: map[string]map[string][]byte{}}
	for _, name := range buckets {
		m.buckets[name] = map[string][]byte{}
	}
	return m
}

// Load implements core.Rows; the rows come in the order of their keys.
func (m *memRows) Load(ctx context.Context, bucket string, yield func(core.Row) error) error {
	m.mu.Lock()
	b, ok := m.buckets[bucket]
	rows := maps.Clone(b)
	m.mu.Unlock()
	if !ok {
		return fmt.Errorf("loading %s: %w", bucket, core.ErrNotFound)
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("loading %s: %w", bucket, err)
		}
		if err := yield(core.Row{Key: key, Value: slices.Clone(rows[key])}); err != nil {
			return err
		}
	}
	return nil
}

// Put implements core.Rows.
func (m *memRows) Put(_ context.Context, bucket string, rows []core.Row) error {
	if err := checkRows(bucket, rows); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return fmt.Errorf("writing %s: %w: %w", bucket, core.ErrUnavailable, m.fail)
	}
	for _, r := range rows {
		if r.Value == nil {
			delete(m.buckets[bucket], r.Key)
			continue
		}
		m.buckets[bucket][r.Key] = append([]byte{}, r.Value...)
	}
	return nil
}

// Create implements core.Rows.
func (m *memRows) Create(_ context.Context, bucket string, row core.Row) error {
	if err := checkRows(bucket, []core.Row{row}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return fmt.Errorf("creating a row of %s: %w: %w", bucket, core.ErrUnavailable, m.fail)
	}
	if _, ok := m.buckets[bucket][row.Key]; ok {
		return fmt.Errorf("creating a row of %s: %w", bucket, core.ErrExists)
	}
	m.buckets[bucket][row.Key] = append([]byte{}, row.Value...)
	return nil
}
