// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// A node's clock may be set while an extension runs. In a bubble of synctest it is the year 2000, and later as soon as
// somebody sleeps: what is in one has another clock than what it is connected to.

// sleepUntil has the clock of the bubble be in the year.
func sleepUntil(year int) { time.Sleep(time.Until(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))) }

// TestClockIsSet connects to an extension by a clock that was set back to before it was started, and forward by more than
// the 30 years that go-plugin's certificates are valid: as who reaches it by the record, and as its supervisor.
func TestClockIsSet(t *testing.T) {
	r := prepare(t, "good", func(o *Options) { o.Outlive = true }).run()
	r.say("hello")
	within(t, "there is a record", func() error { _, err := readRecord(r.record); return err })
	rec, err := readRecord(r.record)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := rec.config()
	if err != nil {
		t.Fatal(err)
	}
	for who, config := range map[string]*tls.Config{"record": recorded, "supervisor": r.now.tls} {
		for _, year := range []int{2000, 2080} {
			t.Run(fmt.Sprintf("%s in %d", who, year), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sleepUntil(year)
					conn, err := dial(filepath.Join(r.o.Folder, rec.Socket), config, (*Metrics)(nil).observe(r.id))
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					if _, err := (echo{conn}).say(t.Context(), "hello"); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestExtensionsClockIsSet has an extension know its daemon by a clock that is far from the daemon's own.
func TestExtensionsClockIsSet(t *testing.T) {
	for name, year := range map[string]string{"behind": "2000", "ahead": "2080"} {
		t.Run(name, func(t *testing.T) {
			if answer := prepare(t, name, nil).run().say("year"); answer != year {
				t.Errorf("the extension's clock is in %s", answer)
			}
		})
	}
}

// serveIn serves in a bubble, with a certificate of the year 2000 and a clock that was set to the year since.
func serveIn(year int, config *plugin.ServeConfig) {
	config.GRPCServer = func(options []grpc.ServerOption) *grpc.Server {
		sleepUntil(year)
		return plugin.DefaultGRPCServer(options)
	}
	// With its first call package signal makes channels that no bubble may have.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	all := func(string, string) (bool, error) { return true, nil }
	serve := func(t *testing.T) { synctest.Test(t, func(*testing.T) { plugin.Serve(config) }) }
	testing.Main(all, []testing.InternalTest{{Name: "extension", F: serve}}, nil, nil)
}
