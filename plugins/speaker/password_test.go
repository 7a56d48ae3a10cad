// SPDX-License-Identifier: Apache-2.0

package speaker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestPasswordDoesNotShow(t *testing.T) {
	p := NewPassword("hunter2")
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("a", "password", p, "in", map[string]Password{"a": p})
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d %v", p, p, p, p, p, p, p, []Password{p})
	if err := json.NewEncoder(&out).Encode(map[string]any{"p": p, "all": []Password{p}}); err != nil {
		t.Error(err)
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the password shows in %s", out.String())
	}
}
