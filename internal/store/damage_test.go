// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// kernel is what Rebuild returns in these tests.
var kernel = []Allocation{
	func() Allocation { a := numbered(1); a.State = Committed; return a }(),
	func() Allocation { a := numbered(2); a.State = Committed; return a }(),
}

// patient is a store that may be damaged, and what it warned of.
type patient struct {
	Store
	warnings []string
}

func newPatient(tb testing.TB, content []byte) *patient {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "flt-store-") // thousands of times: a disk would sync each
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	p := &patient{}
	p.Store = Store{
		Dir:     dir,
		Rebuild: func() ([]Allocation, error) { return kernel, nil },
		Warn:    func(text string) { p.warnings = append(p.warnings, text) },
	}
	if err := os.WriteFile(p.path(), content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return p
}

// aside returns the damaged files that were kept.
func (p *patient) aside() []string {
	list, _ := p.Damaged()
	return list
}

// sample returns the content of a store that has everything, trees of two levels and small buckets.
func sample(tb testing.TB) []byte {
	tb.Helper()
	s := newStore(tb)
	fill(tb, s, 30)
	update(tb, s, func(tx *Tx) error {
		return errors.Join(
			tx.Release(numbered(29).Attachment, 5),
			tx.SetNote("route", numbered(1).Attachment, note{"cbr0"}),
			tx.SetCursor(netip.MustParsePrefix("10.0.0.0/24"), netip.MustParseAddr("10.0.0.29")))
	})
	content, err := os.ReadFile(s.path())
	if err != nil {
		tb.Fatal(err)
	}
	pages, err := openPages(content)
	if err != nil {
		tb.Fatal(err)
	}
	return content[:pages.end*pages.pageSize]
}

// heal uses the store and checks what must be true whatever was in its file: it works, the kernel's
// allocations are in it, and nothing was lost or changed without a word.
func heal(tb testing.TB, content []byte) *patient {
	tb.Helper()
	p := newPatient(tb, content)
	fresh := numbered(1000)
	if err := p.Update(func(tx *Tx) error { return tx.Put(fresh) }); err != nil {
		tb.Fatal("update:", err)
	}
	got := map[string]Allocation{}
	for _, alloc := range all(tb, p.Store) {
		got[alloc.Attachment.ContainerID] = alloc
	}
	want := append([]Allocation{fresh}, kernel...)
	if len(p.warnings) == 0 {
		for i := range 29 {
			want = append(want, numbered(i))
		}
	}
	for _, alloc := range want {
		if diff := cmp.Diff(alloc.Addresses, got[alloc.Attachment.ContainerID].Addresses, cmpAddr); diff != "" {
			tb.Errorf("addresses of %s (-want +got):\n%s", alloc.Attachment, diff)
		}
	}
	if err := p.Verify(); err != nil {
		tb.Error("verify:", err)
	}
	if len(p.warnings) > 0 {
		p.checkAside(tb, content)
	}
	return p
}

func (p *patient) checkAside(tb testing.TB, content []byte) {
	tb.Helper()
	list := p.aside()
	if len(list) != 1 || len(p.warnings) != 1 || !strings.Contains(p.warnings[0], list[0]) {
		tb.Fatalf("kept %v, warned %q; want one of each", list, p.warnings)
	}
	if kept, err := os.ReadFile(list[0]); err != nil || !bytes.Equal(kept, content) {
		tb.Errorf("the damaged file was not kept as it was: %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	whole := sample(t)
	tests := []struct {
		name    string
		content []byte
		damaged bool
	}{
		{"whole", whole, false},
		{"empty", nil, true},
		{"one byte", whole[:1], true},
		{"first meta page only", whole[:4096], true},
		{"half a page", whole[:4096*5+2048], true},
		{"last page in use cut off", whole[:len(whole)/2], true},
		{"zeros", make([]byte, len(whole)), true},
		{"text", []byte(strings.Repeat("This is no database.\n", 1000)), true},
		{"zeros behind the meta pages", append(bytes.Clone(whole[:8192]), make([]byte, len(whole)-8192)...), true},
		{"more behind its end", append(bytes.Clone(whole), "tail"...), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := heal(t, test.content)
			if got := len(p.warnings) > 0; got != test.damaged {
				t.Errorf("warnings %q, want some: %v", p.warnings, test.damaged)
			}
		})
	}
}

// TestFlippedBytes spoils one byte after the other: all of the head of each page, some of its body.
func TestFlippedBytes(t *testing.T) {
	whole := sample(t)
	noticed, tried := 0, 0
	for at := range whole {
		if in := at % 4096; in > 100 && in%127 != 0 {
			continue
		}
		content := bytes.Clone(whole)
		content[at] ^= [...]byte{0x01, 0x80, 0xff}[tried%3]
		tried++
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			if p := heal(t, content); len(p.warnings) > 0 {
				noticed++
			}
		})
	}
	if noticed < tried/2 {
		t.Errorf("%d of %d flips noticed: most bytes matter", noticed, tried)
	}
}

// TestTruncatedFile cuts the file at every page and inside every page.
func TestTruncatedFile(t *testing.T) {
	whole := sample(t)
	for size := 0; size < len(whole); size += 4096 / 4 {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if p := heal(t, whole[:size]); len(p.warnings) == 0 {
				t.Error("not noticed")
			}
		})
	}
}

// TestTruncatedWhileInUse: the memory map then faults, which must not end the process.
func TestTruncatedWhileInUse(t *testing.T) {
	p := newPatient(t, sample(t))
	calls := 0
	err := p.Update(func(tx *Tx) error {
		if calls++; calls == 1 {
			if err := os.Truncate(p.path(), 8192); err != nil {
				t.Fatal(err)
			}
		}
		return tx.All(func(Allocation) error { return nil })
	})
	if err != nil || calls != 2 {
		t.Errorf("update: %v after %d calls, want success after 2", err, calls)
	}
	if got := len(all(t, p.Store)); got != len(kernel) {
		t.Errorf("%d allocations, want the kernel's %d", got, len(kernel))
	}
}

// TestViewRepairs: a reader finds the damage and gets what the kernel shows.
func TestViewRepairs(t *testing.T) {
	content := sample(t)
	p := newPatient(t, content[:8192])
	if got := len(all(t, p.Store)); got != len(kernel) {
		t.Errorf("%d allocations, want the kernel's %d", got, len(kernel))
	}
	p.checkAside(t, content[:8192])
}

// TestLaterVersion: what a later version adds is not damage to this one.
func TestLaterVersion(t *testing.T) {
	s := newStore(t)
	fill(t, s, 3)
	err := s.with(false, func(db *bbolt.DB) error {
		return db.Update(func(btx *bbolt.Tx) error {
			b, err := btx.CreateBucket([]byte("batches"))
			return errors.Join(err, b.Put([]byte("key"), []byte("no record of ours")))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.allocations.put(attachmentKey(attachment("later")), map[string]any{"attachment": "flock/later/eth0"}),
			tx.addresses.put(addressKey(netip.MustParseAddr("fd00::9")), Holder{Owner: attachment("later")}))
	})
	if err := s.Verify(); err != nil {
		t.Error("verify:", err)
	}
}

// TestOldMetaPage: a meta page of long ago is whole in itself, but would forget what came since.
func TestOldMetaPage(t *testing.T) {
	s := newStore(t)
	fill(t, s, 1)
	old, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 1)
	fill(t, s, 1)
	fill(t, s, 1)
	for page := range 2 {
		content, err := os.ReadFile(s.path())
		if err != nil {
			t.Fatal(err)
		}
		copy(content[page*4096:(page+1)*4096], old[page*4096:])
		if err := verify(content); !isDamage(err) {
			t.Errorf("page %d: %v, want damage", page, err)
		}
	}
}

// TestReadOnly: somebody who looks on changes nothing.
func TestReadOnly(t *testing.T) {
	content := sample(t)[:8192]
	p := newPatient(t, content)
	p.ReadOnly = true
	if err := p.View(func(*Tx) error { return nil }); !isDamage(err) {
		t.Errorf("view: %v, want the damage", err)
	}
	if left, err := os.ReadFile(p.path()); err != nil || !bytes.Equal(left, content) || len(p.aside()) > 0 {
		t.Errorf("the damaged file did not stay as it was: %v, aside %v", err, p.aside())
	}
}

// TestVerifyRepairs: damage that came without a write, as from bad memory, is found by Verify.
func TestVerifyRepairs(t *testing.T) {
	content := bytes.Replace(sample(t), []byte(`"fd00:10::`), []byte(`"fd00:11::`), 1)
	p := newPatient(t, content)
	seal(p.path())
	if err := p.Verify(); err != nil {
		t.Error("verify:", err)
	}
	p.checkAside(t, content)
}

// TestRecordChecksum: a transaction that meets a spoilt record repairs the store, even if nobody wrote.
func TestRecordChecksum(t *testing.T) {
	content := bytes.ReplaceAll(sample(t), []byte(`"fd00:10::5"`), []byte(`"fd00:10::6"`))
	p := newPatient(t, content)
	seal(p.path())
	err := p.View(func(tx *Tx) error {
		_, _, err := tx.Get(numbered(5).Attachment)
		return err
	})
	if err != nil {
		t.Error("view:", err)
	}
	p.checkAside(t, content)
}

// TestRecordOfAnotherTable: a page that ended up in another table's place is whole in itself.
func TestRecordOfAnotherTable(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		key := []byte("10.0.0.0/24")
		return tx.cursors.Put(key, record{kind: kindOf(bucketNotes), json: []byte(`"10.0.0.1"`)}.value(key))
	})
	if err := s.inspect(); !isDamage(err) {
		t.Errorf("inspect: %v, want damage", err)
	}
}

// TestRebuildFails: nothing is thrown away for a kernel that cannot be asked.
func TestRebuildFails(t *testing.T) {
	content := sample(t)[:8192]
	p := newPatient(t, content)
	refused := errors.New("dump refused")
	p.Rebuild = func() ([]Allocation, error) { return nil, refused }
	if err := p.Update(func(*Tx) error { return nil }); !errors.Is(err, refused) || !isDamage(err) {
		t.Errorf("update: %v, want both the damage and why it cannot be repaired", err)
	}
	if left, err := os.ReadFile(p.path()); err != nil || !bytes.Equal(left, content) || len(p.aside()) > 0 {
		t.Errorf("the damaged file did not stay as it was: %v, aside %v", err, p.aside())
	}
}

// TestForeignWriteIsVerifiedOnce: a file that somebody touched is sealed again once it was found whole.
func TestForeignWriteIsVerifiedOnce(t *testing.T) {
	s := newStore(t)
	sealedNow := func() bool {
		info, err := os.Stat(s.path())
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime().Nanosecond() == sealed
	}
	fill(t, s, 3)
	if !sealedNow() {
		t.Error("not sealed after an update")
	}
	if err := os.Chtimes(s.path(), time.Now(), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if len(all(t, s)) != 3 || !sealedNow() {
		t.Error("not sealed after a view that verified")
	}
}

func FuzzDamage(f *testing.F) {
	whole := sample(f)
	f.Add(uint32(0), []byte{0xff}, uint32(len(whole)))
	f.Add(uint32(4096*19), []byte{0, 0, 0, 0}, uint32(len(whole)))
	f.Add(uint32(4096*7+16), bytes.Repeat([]byte{0x7f}, 64), uint32(len(whole)-4096))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, size uint32) {
		content := bytes.Clone(whole[:min(int(size), len(whole))])
		if int(at) < len(content) {
			copy(content[at:], patch)
		}
		heal(t, content)
	})
}
