// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"testing"
)

// BenchmarkStart starts an extension and calls it once; ending it is not counted.
func BenchmarkStart(b *testing.B) {
	s := prepare(b, "good", nil).Supervisor
	release, err := claim(s.folder)
	if err != nil {
		b.Fatal(err)
	}
	defer release()
	for b.Loop() {
		i, err := s.launch(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := i.client.(echo).say(b.Context(), "hello"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.stop(i)
		i.close()
		i.end()
		b.StartTimer()
	}
}

// BenchmarkCall calls an extension that runs.
func BenchmarkCall(b *testing.B) {
	e := prepare(b, "good", nil).run().echo()
	for b.Loop() {
		if _, err := e.say(b.Context(), "hello"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRemote asks for the client each time, as a daemon does.
func BenchmarkRemote(b *testing.B) {
	r := prepare(b, "good", func(o *Options) { o.Outlive = true }).run()
	r.echo()
	remote := NewRemote(echoKind, "good", r.o.Folder, nil)
	defer remote.Close()
	within(b, "there is a record", func() error { _, err := remote.Client(); return err })
	for b.Loop() {
		client, err := remote.Client()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := client.(echo).say(b.Context(), "hello"); err != nil {
			b.Fatal(err)
		}
	}
}
