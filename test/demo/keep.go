// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// explain prints how to look around in a demo that was left up, and how to remove it.
func (d *demo) explain() {
	node := d.lab.Nodes[0]
	fmt.Fprintf(d.out, "\nThe network is still up. Look around:\n\n")
	for _, command := range []string{
		"ip netns list | grep " + d.name,
		"ip -n " + node.Netns.Name + " -6 route",
		"ip -n " + node.Netns.Name + " -6 route show table 7273",
		"ip -n " + d.lab.Router.Netns.Name + " route",
	} {
		fmt.Fprintf(d.out, "  %s\n", command)
	}
	if d.lab.Router.Bird != nil {
		fmt.Fprintf(d.out, "  birdc -s %s show route\n", d.lab.Router.Bird.Socket)
	}
	if node.Bird != nil {
		fmt.Fprintf(d.out, "  birdc -s %s show protocols all\n", node.Bird.Socket)
		fmt.Fprintf(d.out, "  %s\n", node.BirddStatusCommand())
	}
	if len(d.pods) > 1 {
		from, to := d.pods[0], d.pods[len(d.pods)-1]
		fmt.Fprintf(d.out, "  ip -n %s address\n", from.Netns.Name)
		fmt.Fprintf(d.out, "  ip netns exec %s ping -c 3 %s    # %s to %s\n", from.Netns.Name, to.Address6(), from, to)
	}
	fmt.Fprintf(d.out, "  ls -R %s\n\nRemove it:\n\n  go run ./test/demo -clean\n", d.lab.Dir)
}
