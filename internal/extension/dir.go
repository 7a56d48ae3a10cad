// SPDX-License-Identifier: Apache-2.0

package extension

// DefaultDir is where extensions are installed.
const DefaultDir = "/usr/libexec/flock"

// Dir is the folder that extensions are in.
type Dir struct{ Path string }

// Find returns the program of an extension: an executable file <kind>-<name> that, as the folder and those above it,
// belongs to root and can be written by nobody else. The error tells what to do.
func (d Dir) Find(kind, name string) (string, error) { panic("not yet") }

// CheckName returns an error unless an extension may have the name: at most 40 of a-z, 0-9 and -, the last neither first
// nor last.
func CheckName(name string) error { panic("not yet") }
