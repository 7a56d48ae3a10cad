// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/conflist"
)

// order is what a test asks of this test's own executable, in the environment.
type order struct {
	Config
	Uninstall bool
	// KillAt is the number of the change after which the process kills itself; 0 for never.
	KillAt int
}

const orderKey = "FLOCK_INSTALLER_ORDER"

func TestMain(m *testing.M) {
	if text := os.Getenv(orderKey); text != "" {
		obey(text)
	}
	os.Exit(m.Run())
}

func obey(text string) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	in := New(o.Config, io.Discard)
	done := 0
	in.step = func() {
		if done++; done == o.KillAt {
			unix.Kill(os.Getpid(), unix.SIGKILL)
		}
	}
	run := in.Install
	if o.Uninstall {
		run = in.Uninstall
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// start carries out an order in a process of its own.
func (n node) start(o order) (wait func() error) {
	n.Helper()
	text, err := json.Marshal(o)
	n.must(err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), orderKey+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	n.must(cmd.Start())
	return func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w: %s", err, &stderr)
		}
		return nil
	}
}

// killedAt carries out an order that ends by kill -9 after the given change, and returns false if the
// order was complete before.
func (n node) killedAt(change int, o order) bool {
	n.Helper()
	o.KillAt = change
	err := n.start(o)()
	if err != nil && !strings.Contains(err.Error(), "killed") {
		n.Fatal(err)
	}
	return err != nil
}

// wantWorking wants that a runtime can use what is there: no conflist, or one whose plugins are all
// there, and all new if the conflist is.
func (n node) wantWorking(change int) {
	n.Helper()
	list, err := libcni.LoadNetworkConf(n.path("net.d"), "flock")
	if err != nil {
		if _, statErr := os.Stat(n.path("net.d", conflist.FileName)); !os.IsNotExist(statErr) {
			n.Errorf("killed after change %d: libcni: %v", change, err)
		}
		return
	}
	isNew := strings.Contains(string(list.Bytes), "1400")
	for _, stage := range conflist.Stages {
		content, _ := os.ReadFile(n.path("bin", stage))
		if version := string(content); version != "v2\n" && (isNew || version != "v1\n") {
			n.Errorf("killed after change %d: %s is %q under a conflist that is new: %v", change, stage, version, isNew)
		}
	}
}

func TestInstallKilledAnywhere(t *testing.T) {
	for _, upgrade := range []bool{false, true} {
		t.Run(fmt.Sprintf("upgrade=%v", upgrade), func(t *testing.T) {
			change := 1
			for ; installKilledAt(t, change, upgrade); change++ {
			}
			if change < 10 {
				t.Errorf("an installation makes %d changes: the test stopped it nowhere", change-1)
			}
		})
	}
}

func installKilledAt(t *testing.T, change int, upgrade bool) bool {
	n := newNode(t)
	if upgrade {
		n.install(n.config())
	}
	n.release("v2")
	c := n.config()
	c.Conflist.Veth.MTU = 1400
	killed := n.killedAt(change, order{Config: c})
	n.wantWorking(change)
	n.install(c)
	n.wantTree(installed("v2"))
	return killed
}

// What a killed installer left beside the files is removed by the next one, even one that has nothing
// to change, and by uninstall.
func TestStagedFilesAreRemoved(t *testing.T) {
	for _, uninstall := range []bool{false, true} {
		n := newNode(t)
		n.install(n.config())
		n.release("v2")
		n.killedAt(3, order{Config: n.config()})
		if !strings.Contains(n.tree(), "bin/.flock-ipam.flock-installer") {
			t.Fatalf("nothing is left of the killed installer:\n%s", n.tree())
		}
		n.release("v1")
		want := installed("v1")
		n.install(n.config())
		if uninstall {
			n.release("v2")
			n.killedAt(3, order{Config: n.config()})
			n.must(n.start(order{Config: n.config(), Uninstall: true})())
			want = ""
		}
		n.wantTree(want)
	}
}

func TestUninstallKilledAnywhere(t *testing.T) {
	for change := 1; ; change++ {
		n := newNode(t)
		n.install(n.config())
		killed := n.killedAt(change, order{Config: n.config(), Uninstall: true})
		n.wantWorking(change)
		_, err := n.run(n.config(), (*Installer).Uninstall)
		n.must(err)
		n.wantTree("")
		if !killed {
			break
		}
	}
}

// Of installers that run at once the last one wins whole.
func TestInstallersAtOnce(t *testing.T) {
	n := newNode(t)
	n.must(os.Rename(n.path("from"), n.path("from-v1")))
	n.must(os.Mkdir(n.path("from"), 0o755))
	n.release("v2")
	var waits []func() error
	for i := range 12 {
		c := n.config()
		if i%2 == 0 {
			c.From = n.path("from-v1")
		} else {
			c.Conflist.Veth.MTU = 1400
		}
		waits = append(waits, n.start(order{Config: c}))
	}
	for _, wait := range waits {
		n.must(wait())
	}
	n.must(os.RemoveAll(n.path("from-v1")))
	version := "v1"
	if list, _ := os.ReadFile(n.path("net.d", conflist.FileName)); bytes.Contains(list, []byte("1400")) {
		version = "v2"
	}
	n.wantTree(installed(version))
	n.wantWorking(0)
	_, err := n.run(n.config(), (*Installer).Uninstall)
	n.must(err)
	n.wantTree("")
}
