package core_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pushhub/bus"
	"pushhub/core"
)

func (h *hub) setDocuments(account string, docs ...core.Document) error {
	done := make(chan error, 1)
	h.SetDocuments(account, docs, func(err error) { done <- err })
	return <-done
}

func (h *hub) keep(account, name, content string) {
	h.t.Helper()
	if err := h.setDocuments(account, core.Document{Name: name, Content: []byte(content)}); err != nil {
		h.t.Fatalf("storing %s of %s: %v", name, account, err)
	}
}

func TestDocumentsOutliveTheHub(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("ada", "bob")
	h.keep("ada", "a", "one")
	h.keep("ada", "a", "two")
	h.keep("ada", "b", "")
	h.keep("bob", "a", "his")
	if err := h.setDocuments("ada", core.Document{Name: "b"}, core.Document{Name: "c", Content: []byte("three")}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for _, c := range []struct{ account, name, want string }{
			{"ada", "a", "two"}, {"ada", "b", ""}, {"ada", "c", "three"}, {"bob", "a", "his"}, {"bob", "c", ""}, {"nobody", "a", ""},
		} {
			if got := string(h.Document(c.account, c.name)); got != c.want {
				t.Errorf("%s of %s is %q, want %q", c.name, c.account, got, c.want)
			}
		}
		if h.Document("ada", "b") != nil {
			t.Error("what was removed is there")
		}
	}
	check()
	h.kill()
	h = newHub(t, store)
	check()
	if n := len(h.AccountNames()); n != 2 {
		t.Errorf("%d accounts, want 2", n)
	}
}

func TestDocumentsAreBounded(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	h.keep("ada", "large", strings.Repeat("x", 200<<10))
	large := core.Document{Name: "other", Content: make([]byte, 100<<10)}
	if err := h.setDocuments("ada", large); !errors.Is(err, core.ErrQuota) {
		t.Errorf("too many bytes: %v", err)
	}
	if h.Document("ada", "other") != nil {
		t.Error("what was refused is there")
	}
	if err := h.setDocuments("bob", large); err != nil {
		t.Errorf("another account: %v", err)
	}
	if err := h.setDocuments("ada", core.Document{Name: "large"}, large); err != nil {
		t.Errorf("one in the place of another: %v", err)
	}
	var many []core.Document
	for i := range 101 {
		many = append(many, core.Document{Name: fmt.Sprint(i), Content: []byte{}})
	}
	if err := h.setDocuments("bob", many...); !errors.Is(err, core.ErrQuota) {
		t.Errorf("too many: %v", err)
	}
	if err := h.setDocuments("nobody", large); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("an unknown account: %v", err)
	}
}

func TestDocumentsGoWithTheirAccount(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("ada")
	h.keep("ada", "a", "secret")
	done := make(chan error, 1)
	h.RemoveAccount("ada", func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.register("ada")
	if got := h.Document("ada", "a"); got != nil {
		t.Errorf("the next of that name has %q", got)
	}
	h.stop()
	h = newHub(t, store)
	if got := h.Document("ada", "a"); got != nil {
		t.Errorf("after a restart the next of that name has %q", got)
	}
}

func TestDocumentsWithoutAnAccountAreRemoved(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("ada", "bob")
	h.keep("ada", "a", "secret")
	h.keep("bob", "a", "kept")
	h.stop()
	// As a removal leaves it whose last row came and whose others did not.
	if err := store.Rows().Put(context.Background(), core.BucketAccounts, []core.Row{{Key: "ada"}}); err != nil {
		t.Fatal(err)
	}
	h = newHub(t, store)
	h.register("ada")
	h.stop()
	h = newHub(t, store)
	if got := h.Document("ada", "a"); got != nil {
		t.Errorf("the next of that name has %q", got)
	}
	if got := string(h.Document("bob", "a")); got != "kept" {
		t.Errorf("bob has %q", got)
	}
}

func TestDocumentsThatCannotBeStoredDoNotShow(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("ada")
	store.FailRows(errors.New("no disk"))
	if err := h.setDocuments("ada", core.Document{Name: "a", Content: []byte("x")}); !errors.Is(err, core.ErrUnavailable) || h.Document("ada", "a") != nil {
		t.Errorf("%v, and %q shows", err, h.Document("ada", "a"))
	}
	store.FailRows(nil)
}
