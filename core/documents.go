package core

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"sync"

	"pushhub/core/journal"
)

// What one account may keep.
const (
	maxDocuments     = 100
	maxDocumentBytes = 256 << 10 // of all its documents and their names
)

// A Document is what an account keeps on the hub for itself: bytes that mean
// something to its clients alone, under a name that their protocol chooses.
type Document struct {
	Name    string
	Content []byte // read-only; nil: there is none
}

// documents are those of all accounts, in memory; each change is stored before it
// shows. Changes hold accounts.change.
type documents struct {
	mu sync.RWMutex                 // guards m; the maps in it are replaced, never changed
	m  map[string]map[string][]byte // by account, then by name
}

func (d *documents) of(account string) map[string][]byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.m[account]
}

func (d *documents) set(account string, docs map[string][]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(docs) == 0 {
		delete(d.m, account)
		return
	}
	d.m[account] = docs
}

// Document finds what an account keeps under a name; nil when that is nothing.
func (r *Router) Document(account, name string) []byte { return r.documents.of(account)[name] }

// SetDocuments stores some of an account's documents, or removes those without
// content. done is called on another goroutine when that is durable; after an
// error other than ErrNotFound (the account) and ErrQuota some may be stored.
func (r *Router) SetDocuments(account string, docs []Document, done func(err error)) {
	r.later(context.Background(), func() error {
		err := r.setDocuments(account, docs)
		if err == nil {
			done(nil)
		}
		return err
	}, done)
}

func (r *Router) setDocuments(account string, docs []Document) error {
	r.accounts.change.Lock()
	defer r.accounts.change.Unlock()
	if !r.accounts.exists(account) {
		return fmt.Errorf("%w: there is no account %q", ErrNotFound, account)
	}
	old := r.documents.of(account)
	now := maps.Clone(old)
	if now == nil {
		now = map[string][]byte{}
	}
	rows := make([]Row, 0, len(docs))
	for _, doc := range docs {
		rows = append(rows, documentRow(account, doc))
		if doc.Content == nil {
			delete(now, doc.Name)
		} else {
			now[doc.Name] = doc.Content
		}
	}
	size := documentsSize(now)
	if (size > maxDocumentBytes && size > documentsSize(old)) || (len(now) > maxDocuments && len(now) > len(old)) {
		return fmt.Errorf("%w: an account keeps at most %d documents of together %d bytes", ErrQuota, maxDocuments, maxDocumentBytes)
	}
	if err := r.put(context.Background(), BucketAccounts, rows); err != nil {
		return fmt.Errorf("storing documents of %q: %w", account, err)
	}
	r.documents.set(account, now)
	return nil
}

func documentsSize(docs map[string][]byte) (n int) {
	for name, content := range docs {
		n += len(name) + len(content)
	}
	return n
}

// documentRows are rows that delete all documents of an account.
func (r *Router) documentRows(account string) []Row {
	docs := r.documents.of(account)
	rows := make([]Row, 0, len(docs)+1)
	for name := range docs {
		rows = append(rows, documentRow(account, Document{Name: name}))
	}
	return rows
}

// documentMark begins the key of a document's row. No account's name does.
const documentMark = "\x00"

// IsDocument reports whether the key of a row in BucketAccounts is a document's
// and not an account's.
func IsDocument(key string) bool { return strings.HasPrefix(key, documentMark) }

// documentV1 begins the value of a document's row.
const documentV1 = 1

func documentRow(account string, doc Document) Row {
	key := sha256.Sum256([]byte(account + "\x00" + doc.Name)) // a name may be longer than a key
	row := Row{Key: documentMark + string(key[:])}
	if doc.Content == nil {
		return row
	}
	row.Value = journal.AppendBytes([]byte{documentV1}, account)
	row.Value = journal.AppendBytes(row.Value, doc.Name)
	row.Value = append(row.Value, doc.Content...)
	return row
}

// decodeDocument reads the value of a row; the content aliases it.
func decodeDocument(b []byte) (account string, doc Document, err error) {
	d := journal.Decoder{Rest: b}
	version := d.Byte()
	if d.Err == nil && version != documentV1 {
		return "", Document{}, fmt.Errorf("reading a document: version %d is unknown", version)
	}
	account, doc.Name = d.String(), d.String()
	if d.Err != nil {
		return "", Document{}, fmt.Errorf("reading a document: %w", d.Err)
	}
	doc.Content = append([]byte{}, d.Rest...)
	return account, doc, nil
}

// loadAccount reads a row of BucketAccounts.
func (r *Router) loadAccount(row Row) error {
	if !IsDocument(row.Key) {
		return r.accounts.load(row)
	}
	account, doc, err := decodeDocument(row.Value)
	if err != nil {
		return err
	}
	if r.documents.m[account] == nil {
		r.documents.m[account] = map[string][]byte{}
	}
	r.documents.m[account][doc.Name] = doc.Content
	return nil
}

// dropOrphans removes documents whose account is gone, as a removal that was cut
// short leaves them: whoever gets its name next is somebody else.
func (r *Router) dropOrphans(ctx context.Context) error {
	for account := range r.documents.m {
		if r.accounts.exists(account) {
			continue
		}
		if err := r.put(ctx, BucketAccounts, r.documentRows(account)); err != nil {
			return fmt.Errorf("removing documents of %q, which is gone: %w", account, err)
		}
		r.documents.set(account, nil)
	}
	return nil
}
