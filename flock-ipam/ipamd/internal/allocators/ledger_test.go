// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

// journal is a ledger whose clock the test moves.
type journal struct {
	*ledger
	t     *testing.T
	clock time.Duration
	store map[cni.Attachment]record
	// released is when the address was.
	released map[netip.Addr]time.Duration
	// taken are the attachments that were taken back.
	taken []string
}

func newJournal(t *testing.T) *journal {
	j := &journal{t: t, clock: time.Hour, store: map[cni.Attachment]record{}, released: map[netip.Addr]time.Duration{}}
	j.ledger = newLedger(func() time.Duration { return j.clock })
	return j
}

func one(id string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"}
}

// answer lets the allocator answer an ADD.
func (j *journal) answer(id string) {
	j.t.Helper()
	j.question(one(id), "p")
	j.told(id)
}

// told lets the allocator answer an ADD whose question came before.
func (j *journal) told(id string) {
	j.t.Helper()
	l, err := j.begin(j.t.Context(), one(id))
	if err != nil {
		j.t.Fatal(err)
	}
	j.clock += time.Millisecond
	j.end(l, given)
}

// put has the store hold the attachment.
func (j *journal) put(id string) {
	j.store[who(one(id))] = record{addresses: []netip.Addr{given}, since: time.Unix(0, int64(j.clock))}
}

// del is a DEL.
func (j *journal) del(id string) {
	delete(j.store, who(one(id)))
	j.clock++
	j.released[given] = j.clock
}

// given is the address that is given.
var given = netip.MustParseAddr("fd00::7")

func (j *journal) view() view { return view{j.clock, j.store, j.released} }

// look reads the store, a while after the look before, and takes back what is due.
func (j *journal) look(after time.Duration) {
	j.t.Helper()
	j.clock += after
	j.observe(j.view())
	for _, a := range j.due() {
		err := j.release(a, func(left) (bool, error) { j.taken = append(j.taken, a.ContainerID); return true, nil })
		if err != nil {
			j.t.Error(err)
		}
	}
}

// took wants that so many attachments were taken back by now.
func (j *journal) took(n int, when string) {
	j.t.Helper()
	if len(j.taken) != n {
		j.t.Errorf("%s, taken back: %v, want %d", when, j.taken, n)
	}
}

func TestGoneFromTheStoreIsTakenBackAtOnce(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.put("a")
	j.look(time.Millisecond)
	j.took(0, "while the store has it")
	j.del("a")
	j.look(time.Millisecond)
	j.took(1, "after the DEL")
	j.look(time.Hour)
	j.took(1, "an hour later")
}

// TestGoneBeforeItWasSeen: a DEL followed the ADD at once.
func TestGoneBeforeItWasSeen(t *testing.T) {
	j := newJournal(t)
	j.clock++
	j.released[given] = j.clock // by somebody else, before
	j.answer("a")
	j.look(time.Millisecond)
	j.took(0, "before it has come")
	j.put("a")
	j.del("a")
	j.look(time.Millisecond)
	j.took(1, "after the DEL")
}

// TestOnItsWay: an address that was given is not in the store yet.
func TestOnItsWay(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.look(time.Millisecond)
	j.look(time.Second)
	j.look(onItsWay - 2*time.Second)
	j.took(0, "within two minutes")
	j.put("a")
	j.look(time.Hour)
	j.took(0, "when it has come")
}

func TestNeverCame(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.look(time.Hour)
	j.took(0, "at the first look")
	j.look(time.Millisecond)
	j.took(0, "at the second look, just after the first")
	j.look(onItsWay)
	j.took(1, "after two minutes")
}

// TestListed: what only the allocator knows of may be that of an ADD which an earlier ipamd answered.
func TestListed(t *testing.T) {
	j := newJournal(t)
	j.listed(one("a"), given)
	j.look(0)
	j.look(time.Minute)
	j.took(0, "within two minutes")
	j.look(time.Minute)
	j.took(1, "after two minutes")
}

func TestAbandoned(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.abandon(one("a"))
	j.look(time.Millisecond)
	j.took(1, "after the ADD has failed")
}

// TestAbandonedByOneOfTwo: two ADDs of one attachment were given the address, and one has failed.
func TestAbandonedByOneOfTwo(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.answer("a")
	j.abandon(one("a"))
	j.look(time.Millisecond)
	j.took(0, "while the other is on its way")
	j.put("a")
	j.look(time.Millisecond)
	j.del("a")
	j.look(time.Millisecond)
	j.took(1, "after the DEL")
}

// TestAbandonedLate: that the first ADD has failed is told when the second one has its answer.
func TestAbandonedLate(t *testing.T) {
	j := newJournal(t)
	j.question(one("a"), "p") // which is never answered
	j.answer("a")
	j.abandon(one("a"))
	j.look(time.Millisecond)
	j.took(0, "while the second is on its way")
	j.put("a")
	j.look(time.Millisecond)
	j.took(0, "when it has come")
	j.del("a")
	j.look(time.Millisecond)
	j.took(1, "after the DEL")
}

// TestDelWhileOneOfTwo: of two ADDs one has come to the store, and the other may come after the DEL.
func TestDelWhileOneOfTwo(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.answer("a")
	j.put("a")
	j.look(time.Millisecond)
	j.del("a")
	j.look(time.Millisecond)
	j.took(0, "after a DEL that did not wait for it")
	j.look(onItsWay)
	j.took(1, "after two minutes")
}

// TestAddedAgain: an attachment that is deleted and added again, before anybody looks, has nothing on its way.
func TestAddedAgain(t *testing.T) {
	j := newJournal(t)
	for range 3 {
		j.answer("a")
		j.put("a")
		j.look(time.Millisecond)
		j.took(0, "while the store has it")
		j.del("a")
	}
	j.look(time.Millisecond)
	j.took(1, "after the DEL")
}

// TestAskedAgain: an extension that was lost answers at another try.
func TestAskedAgain(t *testing.T) {
	j := newJournal(t)
	j.question(one("a"), "p")
	j.told("a")
	j.told("a")
	j.put("a")
	j.look(time.Millisecond)
	j.del("a")
	j.look(time.Millisecond)
	j.took(1, "after the DEL")
}

// TestQuestionWhileTakingBack: it is not forgotten with the life before.
func TestQuestionWhileTakingBack(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.abandon(one("a"))
	j.clock++
	j.observe(j.view())
	err := j.release(one("a"), func(left) (bool, error) {
		j.question(one("a"), "p")
		j.question(one("a"), "p")
		return true, nil
	})
	if err != nil {
		t.Error(err)
	}
	j.told("a")
	j.abandon(one("a"))
	j.look(time.Millisecond)
	j.took(0, "while the other is on its way")
	j.look(time.Millisecond)
	j.look(onItsWay)
	j.look(onItsWay)
	if !j.empty() {
		t.Error("it is still known")
	}
}

// TestTwiceLongAgo: of an attachment that was asked for twice both answers are old.
func TestTwiceLongAgo(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.answer("a")
	j.put("a")
	j.look(onItsWay)
	j.del("a")
	j.look(time.Millisecond)
	j.took(1, "after the DEL")
}

// TestAddAfterDel: the store that is looked at is of the life before.
func TestAddAfterDel(t *testing.T) {
	j := newJournal(t)
	j.answer("a")
	j.put("a")
	j.look(onItsWay)
	read := j.clock // of the store, before the DEL and the next ADD's answer
	before := map[cni.Attachment]record{who(one("a")): {}}
	j.del("a")
	j.answer("a")
	j.observe(view{read, before, nil})
	j.look(time.Millisecond)
	j.took(0, "while the second ADD is on its way")
	j.put("a")
	j.look(time.Hour)
	j.took(0, "when it has come")
}

// TestAddWhileTakingBack: the ADD waits, and nothing is taken back that it is given.
func TestAddWhileTakingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal(t)
		j.put("a")
		j.look(time.Millisecond)
		j.del("a")
		j.clock++
		j.observe(j.view())
		answered := make(chan bool)
		err := j.release(one("a"), func(left) (bool, error) {
			go func() { j.answer("a"); close(answered) }()
			synctest.Wait()
			select {
			case <-answered:
				t.Error("the ADD did not wait")
			default:
			}
			return true, nil
		})
		if err != nil {
			t.Error(err)
		}
		<-answered
		j.look(time.Second)
		j.look(time.Second)
		j.took(0, "while the ADD is on its way")
		j.abandon(one("a"))
		j.look(time.Second)
		j.took(1, "when it has failed")
	})
}

// TestAddBeforeTakingBack: the ADD was answered after it was seen what is due.
func TestAddBeforeTakingBack(t *testing.T) {
	j := newJournal(t)
	j.put("a")
	j.look(time.Millisecond)
	j.del("a")
	j.clock++
	j.observe(j.view())
	due := j.due()
	j.answer("a")
	if err := j.release(due[0], func(left) (bool, error) { t.Error("it is taken back"); return true, nil }); err != nil {
		t.Error(err)
	}
}

// TestGivingUp: an ADD that waits for its turn does so no longer than it may.
func TestGivingUp(t *testing.T) {
	j := newJournal(t)
	if _, err := j.begin(t.Context(), one("a")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := j.begin(ctx, one("a")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestTakingBackWhileAdding: an ADD that is being answered has nothing taken from it.
func TestTakingBackWhileAdding(t *testing.T) {
	j := newJournal(t)
	j.put("a")
	j.look(time.Millisecond)
	j.del("a")
	l, err := j.begin(t.Context(), one("a"))
	if err != nil {
		t.Fatal(err)
	}
	j.look(time.Hour)
	j.look(time.Hour)
	j.end(l, given)
	j.look(time.Second)
	j.took(0, "while the ADD is on its way")
}

func TestFailedReleaseIsRepeated(t *testing.T) {
	j := newJournal(t)
	j.put("a")
	j.look(time.Millisecond)
	j.del("a")
	j.clock++
	j.observe(j.view())
	for _, failure := range []error{errors.New("away"), nil} {
		if err := j.release(one("a"), func(left) (bool, error) { return false, failure }); err != failure {
			t.Errorf("got %v, want %v", err, failure)
		}
	}
	j.look(time.Millisecond)
	j.took(1, "at the third try")
	if !j.empty() {
		t.Error("it is still known")
	}
}

// TestOthersAreLeftAlone: an attachment without an address of the allocator's is none of its business.
func TestOthersAreLeftAlone(t *testing.T) {
	j := newJournal(t)
	j.store[who(one("a"))] = record{}
	j.look(time.Millisecond)
	j.del("a")
	j.look(time.Hour)
	j.look(time.Hour)
	j.took(0, "after its DEL")
}
