// SPDX-License-Identifier: Apache-2.0

package extension

// Remote reaches an extension that another process supervises and that outlives it.
type Remote struct{}

// NewRemote returns a Remote for the extension of the name, whose supervisor has the state folder. Metrics may be nil.
func NewRemote(kind Kind, name, folder string, metrics *Metrics) *Remote { panic("not yet") }

// Client returns what the contract's plugin dispensed, for one call or a few: it is another when the extension was
// started again. It reads the record each time and asks the extension nothing. Where the record says that the extension
// is down, or there is none, the error matches [ErrDown] and says why.
func (r *Remote) Client() (any, error) { panic("not yet") }

// State returns what the record says, and the reason where there is none.
func (r *Remote) State() State { panic("not yet") }

// Close ends the connection, and does nothing to the extension.
func (r *Remote) Close() error { panic("not yet") }
