// SPDX-License-Identifier: Apache-2.0

package extension

import "path/filepath"

// Record is what a supervisor keeps of an extension that outlives it, in a file that root alone can read: it holds the
// key with which the extension is reached.
type Record struct {
	State State `json:"state"`
}

// RecordPath returns where the record of an extension is in the state folder: speaker-gobgp.json, for example.
func RecordPath(folder, kind, name string) string {
	return filepath.Join(folder, kind+"-"+name+".json")
}

// ReadRecord returns the record in the file; no file is an error that matches [io/fs.ErrNotExist].
func ReadRecord(path string) (Record, error) { panic("not yet") }
