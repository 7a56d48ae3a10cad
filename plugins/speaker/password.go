// SPDX-License-Identifier: Apache-2.0

package speaker

import (
	"fmt"
	"io"
	"log/slog"
)

// Password is the password of a session. However it is printed, it does not show.
type Password struct{ secret string }

// NewPassword returns the password that the text is.
func NewPassword(text string) Password { return Password{text} }

// Reveal returns the password itself, for the one place that needs it.
func (p Password) Reveal() string { return p.secret }

// Format hides the password from every verb of fmt.
func (p Password) Format(f fmt.State, _ rune) { io.WriteString(f, "[password]") }

// MarshalText hides the password from encoders.
func (p Password) MarshalText() ([]byte, error) { return []byte("[password]"), nil }

// LogValue hides the password from slog.
func (p Password) LogValue() slog.Value { return slog.StringValue("[password]") }
