// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"errors"
	"fmt"
	"testing"
)

func TestSome(t *testing.T) {
	var errs []error
	for n, want := range []string{"<nil>", "0", "0\n1", "0\n1\n2", "0\n1\n2\nand 1 more", "0\n1\n2\nand 2 more"} {
		if got := fmt.Sprint(some(append([]error{nil}, errs...))); got != want {
			t.Errorf("some of %d errors is %q, want %q", n, got, want)
		}
		errs = append(errs, errors.New(fmt.Sprint(n)))
	}
}
