package bus

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"pushhub/core/journal"
)

// childDir names the variable that makes the test binary a child which appends
// to the store in that directory until it is killed.
const childDir = "PUSHHUB_BUS_TEST_DIR"

// appendUntilKilled prints "<position> <record>" for each acknowledged record.
func appendUntilKilled(dir string) {
	b, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	for i := range 8 {
		go func() {
			for k := 0; ; k++ {
				rec := fmt.Sprintf("%s/%d/%d", b.Lane(), i, k)
				told := make(chan struct{})
				fail(b.Journal().Append([]byte(rec), func(p journal.Position, err error) {
					fail(err)
					fmt.Printf("%d %s\n", uint64(p), rec) // os.Stdout is not buffered
					close(told)
				}))
				<-told
			}
		}()
	}
	fail(b.Journal().Follow(context.Background(), 1, applyFunc(ignore)))
}

func TestAcknowledgedRecordsSurviveKill9(t *testing.T) {
	dir := t.TempDir()
	acked := map[journal.Position]string{}
	for range 3 {
		ackUntilKilled(t, dir, 400, acked)
		n := embeddedAt(t, dir)
		f := follow(t, n, 1)
		f.catchUp()
		for pos, rec := range acked {
			if f.records[pos] != rec {
				t.Fatalf("at %s is %q, %q was acknowledged there", pos, f.records[pos], rec)
			}
		}
		seen := map[string]bool{}
		for _, rec := range f.records {
			if seen[rec] {
				t.Errorf("record %s is stored twice", rec)
			}
			seen[rec] = true
		}
		f.stop()
		closeNode(t, n)
	}
}

func embeddedAt(t testing.TB, dir string) node {
	return natsStores(func(o *Options) { o.Dir = dir }).open(t, Options{})
}

// ackUntilKilled runs a child until it has acknowledged n records, kills it, and
// notes all that it acknowledged.
func ackUntilKilled(t *testing.T, dir string, n int, acked map[journal.Position]string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for got := 1; lines.Scan(); got++ {
		pos, rec, ok := strings.Cut(lines.Text(), " ")
		p, err := strconv.ParseUint(pos, 10, 64)
		if !ok || err != nil || strings.Count(rec, "/") != 2 {
			break // the line that the kill cut off
		}
		acked[journal.Position(p)] = rec
		if got == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
}
