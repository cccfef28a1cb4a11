package core

import (
	"bytes"
	"testing"
)

func TestDocumentRowsAreToldFromAccounts(t *testing.T) {
	row := documentRow("ada", Document{"name", []byte("content")})
	if !IsDocument(row.Key) || IsDocument("ada") {
		t.Errorf("%q and ada are not told apart", row.Key)
	}
	if gone := documentRow("ada", Document{Name: "name"}); gone.Key != row.Key || gone.Value != nil {
		t.Errorf("%q is deleted by %q", row.Key, gone.Key)
	}
	row.Value[0]++
	if _, _, err := decodeDocument(row.Value); err == nil {
		t.Error("an unknown version is read")
	}
}

func FuzzDecodeDocument(f *testing.F) {
	f.Add(documentRow("ada", Document{"name", []byte("content")}).Value)
	f.Add(documentRow("ada", Document{"", []byte{}}).Value)
	f.Add([]byte{documentV1, 0xFF, 0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, b []byte) {
		account, doc, err := decodeDocument(b)
		if err != nil {
			return
		}
		again, same, err := decodeDocument(documentRow(account, doc).Value)
		if err != nil || again != account || same.Name != doc.Name || !bytes.Equal(same.Content, doc.Content) {
			t.Fatalf("%q %q became %q %q, %v", account, doc, again, same, err)
		}
	})
}
