// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"text/template"

	"flock.fritzlab.net/flock/test/cluster"
)

var usage = template.Must(template.New("usage").Parse(`
The cluster is up. Use it:

  PATH={{.Dir}}:$PATH
  kubectl get nodes,nodeconfigs
  kubectl get pods -A -o wide
  kubectl run web --image={{.Image}} --annotations=flock.fritzlab.net/anycast=2001:db8:a::53
  kubectl wait --for=condition=Ready pod/web --timeout=3m
  kubectl exec web -- /testpod addresses
  birdc -s {{.Router.Socket}} show route     # what the router knows
{{range .Nodes}}  nsenter --target $(cat {{.Dir}}/holder.pid) --all bash     # a shell on {{.Name}}
{{end}}
That kubectl runs inside the control plane's network namespace, from which alone the API server can be reached;
the kubeconfig is {{.Kubeconfig}}. Logs are {{.Dir}}/*/*.log. Remove it all:

  make cluster-down
`))

func explain(c *cluster.Cluster) error {
	return usage.Execute(os.Stdout, struct {
		*cluster.Cluster
		Image string
	}{c, cluster.PodImage})
}
