// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The test binary is also the process that shares a store: see TestMain.
const (
	envDir    = "STORE_TEST_DIR"
	envWorker = "STORE_TEST_WORKER"
	envRounds = "STORE_TEST_ROUNDS"
)

var sharedPool = netip.MustParsePrefix("10.0.0.0/22")

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		rounds, _ := strconv.Atoi(os.Getenv(envRounds))
		if err := work(Store{Dir: dir}, os.Stdout, os.Getenv(envWorker), rounds); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// work allocates a round's first free address, and gives every third allocation back. It tells "+" and the
// container ID when it has allocated, "-" when it is going to give back.
func work(s Store, done io.Writer, worker string, rounds int) error {
	for i := range rounds {
		id := fmt.Sprintf("%s-%d", worker, i)
		err := s.Update(func(tx *Tx) error {
			addr, err := firstFree(tx, sharedPool)
			if err != nil {
				return err
			}
			return tx.Put(allocation(id, addr.String()))
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(done, "+%s\n", id)
		if i%3 != 2 {
			continue
		}
		fmt.Fprintf(done, "-%s\n", id)
		if err := s.Update(func(tx *Tx) error { return tx.Release(attachment(id), SinceBoot()) }); err != nil {
			return err
		}
	}
	return nil
}

func firstFree(tx *Tx, pool netip.Prefix) (netip.Addr, error) {
	next := pool.Addr()
	err := tx.Scan(pool, next, func(a netip.Addr, h Holder) bool {
		if a != next || h.Free() {
			return false
		}
		next = next.Next()
		return true
	})
	if err == nil && !pool.Contains(next) {
		err = errors.New("exhausted")
	}
	return next, err
}

// start runs work in another process, which tells done what it did.
func start(t *testing.T, s Store, done io.Writer, worker string, rounds int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdout = done
	cmd.Env = append(os.Environ(), envDir+"="+s.Dir, envWorker+"="+worker, envRounds+"="+strconv.Itoa(rounds))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestProcessesShareAStore(t *testing.T) {
	const workers, rounds = 8, 60
	s := newStore(t)
	var running []*exec.Cmd
	for w := range workers {
		running = append(running, start(t, s, nil, strconv.Itoa(w), rounds))
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error("worker:", err)
		}
	}
	if err := s.Verify(); err != nil {
		t.Error("verify:", err)
	}
	// Verify compared allocations and addresses both ways, so that counting them is enough.
	if n, want := len(all(t, s)), workers*rounds*2/3; n != want {
		t.Errorf("%d allocations, want %d", n, want)
	}
}

// TestKilledProcesses: whenever a process dies, what it had done is there, and of what it was doing all or
// nothing.
func TestKilledProcesses(t *testing.T) {
	for i := range 60 {
		s := newStore(t)
		var done bytes.Buffer
		cmd := start(t, s, &done, "k", 600)
		// Not to wait for something, but to die at another moment each time.
		time.Sleep(time.Duration(i) * time.Millisecond / 4)
		cmd.Process.Kill()
		cmd.Wait()
		if err := s.Verify(); err != nil {
			t.Fatalf("kill %d: verify: %v", i, err)
		}
		left := map[string]bool{}
		for _, alloc := range all(t, s) {
			left[alloc.Attachment.ContainerID] = true
		}
		for id, there := range told(done.String()) {
			if there && !left[id] {
				t.Errorf("kill %d: allocation %s is lost", i, id)
			}
			delete(left, id)
		}
		if len(left) > 1 {
			t.Errorf("kill %d: allocations %v, of which nothing was told", i, left)
		}
	}
}

// told returns what a worker told: true for an allocation that must be there, false for one that may be.
func told(done string) map[string]bool {
	there := map[string]bool{}
	for line := range strings.Lines(done) {
		if id, whole := strings.CutSuffix(line, "\n"); whole {
			there[id[1:]] = id[0] == '+'
		}
	}
	return there
}
