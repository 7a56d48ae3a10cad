// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"testing"

	"flock.fritzlab.net/flock/test/apiserver"
)

func TestCRD(t *testing.T) {
	s := apiserver.Start(t)
	s.CRDs(t)
	t.Log(s.Kubectl(t, "get", "nodeconfigs"))
}
