// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"sync"

	"k8s.io/client-go/tools/cache"
)

// Watch runs an informer until the context ends. Until synced says that all there was has been told of, report gets
// why not, and then nil, once: from then on the informer serves from memory, and that the API server is away is
// [Client.OnContact]'s matter.
func Watch(ctx context.Context, informer cache.SharedIndexInformer, synced func() bool, report func(error)) {
	// It fails only on an informer that runs already.
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		if informer.HasSynced() || ctx.Err() != nil {
			cache.DefaultWatchErrorHandler(ctx, r, err) // which writes to the log
			return
		}
		report(err)
	})
	var telling sync.WaitGroup
	telling.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), synced) {
			report(nil)
		}
	})
	informer.RunWithContext(ctx)
	telling.Wait()
}
