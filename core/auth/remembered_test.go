package auth

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"testing/iotest"
)

func newTestMemory(t testing.TB, capacity int) *Remembered {
	t.Helper()
	r, err := NewRemembered(rand.Reader, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// recalls asks the memory alone, without the verifier to fall back on.
func (r *Remembered) recalls(account string, v Verifier, password string) bool {
	d, ok := r.digest(account, v, password)
	return ok && r.known(d)
}

func TestRememberedKnowsAVerifiedLoginOnly(t *testing.T) {
	r := newTestMemory(t, 8)
	if r.Check("alice", rfc7677, "wrong") || r.Len() != 0 {
		t.Fatal("a wrong password is accepted or remembered")
	}
	if !r.Check("alice", rfc7677, "pencil") || !r.recalls("alice", rfc7677, "pencil") {
		t.Fatal("the right password is not remembered")
	}
	other := newTestVerifier(t, SHA256, "pencil")
	cases := []struct {
		name, account string
		v             Verifier
		password      string
	}{
		{"another password", "alice", rfc7677, "pencil2"},
		{"another account", "bob", rfc7677, "pencil"},
		{"a new verifier of the same password", "alice", other, "pencil"},
	}
	for _, c := range cases {
		if r.recalls(c.account, c.v, c.password) {
			t.Errorf("%s is recalled", c.name)
		}
	}
}

func TestRememberedKeepsFieldsApart(t *testing.T) {
	r := newTestMemory(t, 8)
	id, _ := rfc7677.MarshalText()
	// Run together, the fields of these two logins are the same bytes.
	a, _ := r.digest("a", rfc7677, string(id)+"p")
	b, _ := r.digest("a"+string(id), rfc7677, "p")
	if a == b {
		t.Error("two logins share a digest")
	}
}

func TestRememberedForgetsWhenTheVerifierChanges(t *testing.T) {
	r := newTestMemory(t, 8)
	r.Check("alice", rfc7677, "pencil")
	if r.Check("alice", newTestVerifier(t, SHA256, "changed"), "pencil") {
		t.Error("the old password still opens the account")
	}
}

func TestRememberedIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	r := newTestMemory(t, 4)
	enter := func(account string) {
		d, _ := r.digest(account, rfc7677, "pencil")
		r.remember(d)
	}
	enter("regular")
	for i := range 100 {
		if !r.recalls("regular", rfc7677, "pencil") {
			t.Fatalf("the one in use was evicted after %d others", i)
		}
		enter(fmt.Sprintf("visitor-%d", i))
		if r.Len() > 4 || len(r.index) != r.Len() {
			t.Fatalf("%d logins, %d indexed, capacity 4", r.Len(), len(r.index))
		}
	}
}

func TestRememberedNeedsRandomness(t *testing.T) {
	if _, err := NewRemembered(iotest.ErrReader(fmt.Errorf("dry")), 1); err == nil {
		t.Error("made without a key")
	}
}

func TestRememberedIsSafeForConcurrentUse(t *testing.T) {
	r := newTestMemory(t, 2)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 5 {
				if !r.Check(fmt.Sprint("user", i), rfc7677, "pencil") {
					t.Error("refused")
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRememberedHit(b *testing.B) {
	r := newTestMemory(b, 8)
	r.Check("alice", rfc7677, "pencil")
	b.ReportAllocs()
	for b.Loop() {
		r.Check("alice", rfc7677, "pencil")
	}
}
