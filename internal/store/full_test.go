// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// onTmpfs runs a test in a mount namespace of its own, with a tmpfs of the given size mounted at dir: it
// goes when the thread ends, whatever happens.
func onTmpfs(t *testing.T, dir, size string, run func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked, so that the thread ends with the goroutine
		err := errors.Join(
			unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("flt-store", dir, "tmpfs", 0, "mode=0700,size="+size))
		if err == nil {
			defer unix.Unmount(dir, unix.MNT_DETACH)
			run()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal("mount a tmpfs:", err)
	}
}

// eat fills the file system of dir and returns how to free it again.
func eat(t *testing.T, dir string) (free func()) {
	t.Helper()
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Error(err)
		return func() {}
	}
	defer ballast.Close()
	for _, block := range []int{1 << 16, 1 << 12} {
		for err = nil; err == nil; {
			_, err = ballast.Write(make([]byte, block))
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("fill %s: %v", dir, err)
	}
	return func() { os.Remove(ballast.Name()) }
}

func TestFullDiskBeforeTheStore(t *testing.T) {
	s := newStore(t)
	onTmpfs(t, s.Dir, "256k", func() {
		free := eat(t, s.Dir)
		if err := s.Update(func(tx *Tx) error { return tx.Put(numbered(1)) }); !errors.Is(err, ErrFull) {
			t.Errorf("update: %v, want ErrFull", err)
		}
		if left, _ := filepath.Glob(s.path() + "*"); len(left) > 0 {
			t.Errorf("%v is left of the attempt", left)
		}
		free()
		update(t, s, func(tx *Tx) error { return tx.Put(numbered(1)) })
	})
}

// TestFullDisk fills the store until there is no room: the last transaction leaves nothing, what was there
// stays, and with room again all works.
func TestFullDisk(t *testing.T) {
	s := newStore(t)
	onTmpfs(t, s.Dir, "512k", func() {
		fill(t, s, 50)
		free := eat(t, s.Dir)
		n := 50
		var err error
		for ; err == nil && n < 1000; n++ {
			err = s.Update(func(tx *Tx) error { return tx.Put(numbered(n)) })
		}
		if !errors.Is(err, ErrFull) {
			t.Errorf("update: %v, want ErrFull", err)
		}
		if err := s.Verify(); err != nil {
			t.Error("verify:", err)
		}
		if got := len(all(t, s)); got != n-1 {
			t.Errorf("%d allocations, want the %d that succeeded", got, n-1)
		}
		free()
		update(t, s, func(tx *Tx) error { return tx.Put(numbered(n - 1)) })
		if got := len(all(t, s)); got != n {
			t.Errorf("%d allocations, want %d", got, n)
		}
	})
}

// TestFullDiskAndDamage: without room for a new store the damaged one stays for the next try.
func TestFullDiskAndDamage(t *testing.T) {
	content := sample(t)[:8192]
	p := newPatient(t, nil)
	onTmpfs(t, p.Dir, "256k", func() {
		if err := os.WriteFile(p.path(), content, 0o600); err != nil {
			t.Error(err)
		}
		free := eat(t, p.Dir)
		if err := p.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrFull) || !isDamage(err) {
			t.Errorf("update: %v, want ErrFull and the damage", err)
		}
		if left, _ := filepath.Glob(p.path() + "*"); len(left) != 1 {
			t.Errorf("files %v, want the damaged one alone", left)
		}
		free()
		update(t, p.Store, func(*Tx) error { return nil })
		if got := len(all(t, p.Store)); got != len(kernel) {
			t.Errorf("%d allocations, want the kernel's %d", got, len(kernel))
		}
	})
}

func TestReadOnlyFileSystem(t *testing.T) {
	s := newStore(t)
	onTmpfs(t, s.Dir, "1m", func() {
		fill(t, s, 3)
		if err := unix.Mount("", s.Dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Error(err)
		}
		if got := len(all(t, s)); got != 3 {
			t.Errorf("%d allocations, want 3: a reader needs no right to write", got)
		}
		if err := s.Update(func(*Tx) error { return nil }); !errors.Is(err, unix.EROFS) {
			t.Errorf("update: %v, want a read-only file system", err)
		}
	})
}

// TestForbidden: a user who may not read the store is told so, and it is no damage.
func TestForbidden(t *testing.T) {
	s := newStore(t)
	fill(t, s, 3)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked, so that the thread ends with the goroutine
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Error(err)
		}
		nothing := func(*Tx) error { return nil }
		for verb, err := range map[string]error{"update": s.Update(nothing), "view": s.View(nothing), "verify": s.Verify()} {
			if !errors.Is(err, unix.EACCES) || isDamage(err) {
				t.Errorf("%s: %v, want permission denied", verb, err)
			}
		}
	}()
	<-done
}
