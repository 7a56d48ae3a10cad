// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"errors"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
)

// TestUnread: a password that nobody can say is pending, so that what runs stays, until the API server has refused
// it for long enough.
func TestUnread(t *testing.T) {
	forbidden := &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden}}
	refused := errors.New("connection refused")
	for _, test := range []struct {
		name    string
		errs    []error
		age     time.Duration
		pending bool
	}{
		{"nothing heard", nil, time.Hour, true},
		{"server away", []error{refused}, time.Hour, true},
		{"refused a moment ago", []error{forbidden, forbidden}, time.Second, true},
		{"refused for long", []error{forbidden, forbidden}, time.Hour, false},
		{"refused, then away", []error{forbidden, refused}, time.Hour, true},
	} {
		f := new(followed)
		for _, err := range test.errs {
			f.failed(err)
			if !f.forbidden.IsZero() {
				f.forbidden = time.Now().Add(-test.age)
			}
		}
		if err := f.unread(); err == nil || errors.Is(err, password.ErrPending) != test.pending {
			t.Errorf("%s: unread() = %v, want it pending: %v", test.name, err, test.pending)
		}
	}
}
