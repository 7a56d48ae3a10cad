// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/internal/pool"
)

// Command returns flock-installer's command line.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "flock-installer",
		Short: "Put flock's plugins and conflist on a node, or take them away",
		Long: `flock-installer puts flock's plugins, the conflist that chains them and the names of
flock's route protocols and table on a node. It may run on a node in service: the
runtime sees the old installation or the new one, and never a half of one. It
replaces and removes only what it wrote itself.`,
		SilenceUsage: true,
	}
	root.AddCommand(
		wholeCommand("install", "Install or upgrade", (*Installer).Install),
		wholeCommand("check", "Compare the node with what install would write; exit 1 on a difference", (*Installer).Check),
		renderCommand(),
		uninstallCommand(),
	)
	return root
}

// wholeCommand is one that needs every option.
func wholeCommand(use, short string, run func(*Installer) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	var c Config
	placeFlags(cmd.Flags(), &c)
	recordFlags(cmd.Flags(), &c)
	finish := conflistFlags(cmd.Flags(), &c.Conflist)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		finish()
		return run(New(c, cmd.OutOrStdout()))
	}
	return cmd
}

func renderCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "render", Short: "Print the conflist that install would write", Args: cobra.NoArgs}
	var c Config
	finish := conflistFlags(cmd.Flags(), &c.Conflist)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		finish()
		return New(c, cmd.OutOrStdout()).Render()
	}
	return cmd
}

func uninstallCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove what install wrote, from wherever it wrote it",
		Long: `Remove what install wrote, the conflist first and the plugins last. Drain the node
before: without the plugins the runtime cannot take down the pods that are left.
containerd can where another CNI's configuration is there: it takes pods down by
that one, and the kernel and ipamd see to the rest.`,
		Args: cobra.NoArgs,
	}
	var c Config
	recordFlags(cmd.Flags(), &c)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return New(c, cmd.OutOrStdout()).Uninstall()
	}
	return cmd
}

func placeFlags(flags *pflag.FlagSet, c *Config) {
	flags.StringVar(&c.From, "from", ownDir(), "folder of the plugins to install")
	flags.StringVar(&c.BinDir, "bin-dir", "/opt/cni/bin", "the runtime's folder of plugins")
	flags.StringVar(&c.ConfDir, "conf-dir", "/etc/cni/net.d", "the runtime's folder of network configurations")
	flags.StringVar(&c.ProtosDir, "rt-protos-dir", "/etc/iproute2/rt_protos.d", `iproute2's names of protocols, "" for none`)
	flags.StringVar(&c.TablesDir, "rt-tables-dir", "/etc/iproute2/rt_tables.d", `iproute2's names of tables, "" for none`)
}

func recordFlags(flags *pflag.FlagSet, c *Config) {
	flags.StringVar(&c.Record, "record", "/var/lib/flock/installed.json", "file that remembers what was written")
	flags.BoolVar(&c.Force, "force", false, "replace or remove files that are not flock's, or were edited")
}

// conflistFlags returns what to call once the flags are parsed.
func conflistFlags(flags *pflag.FlagSet, o *conflist.Options) (finish func()) {
	flags.StringSliceVar(&o.Stages, "stages", nil, "stages of the chain (default all: "+strings.Join(conflist.Stages, ",")+")")
	flags.StringVar(&o.StateDir, "state-dir", "", "folder of the allocations and sockets (default of the stages: /run/flock)")
	pools := flags.StringSlice("pool", nil, "pool of the node as a CIDR, may be repeated (default: those of node.json)")
	flags.StringVar(&o.IPAM.NodeFile, "node-file", "", "file with the node's pools and MTU (default of the stages: /var/lib/flock/node.json)")
	flags.StringVar(&o.IPAM.Socket, "socket", "", "ipamd's socket (default of the stage: /run/flock/ipamd.sock)")
	flags.StringVar(&o.IPAM.CoolDown, "cool-down", "", "how long a released address rests (default of the stage: 120s)")
	flags.StringSliceVar(&o.IPAM.IPAlgo, "ip-algo", nil, "identity fields of the pod to embed in its IPv6 address: namespace,pod,image (default: none)")
	flags.IntVar(&o.Veth.MTU, "mtu", 0, "MTU of the pods in bytes (default: that of the node file, or of the node's default route)")
	flags.IntVar(&o.Route.Metric, "metric", 0, "metric of the pods' routes (default of the stage: 16)")
	flags.IntVar(&o.Bird.Table, "table", 0, "routing table that BIRD reads (default of the stage: 7273)")
	flags.StringVar(&o.Bird.Anycast, "anycast", "", `announce anycast addresses when the pod is "ready" (needs Kubernetes) or "immediate" (default: ready)`)
	flags.StringArrayVar(&o.Chained, "add", nil, "plugin that follows flock's, may be repeated: "+
		strings.Join(conflist.Chainable(), ", ")+", or a JSON object with the plugin's configuration")
	return func() {
		o.Veth.NodeFile = o.IPAM.NodeFile
		for _, cidr := range *pools {
			o.IPAM.Pools = append(o.IPAM.Pools, pool.Spec{CIDR: cidr})
		}
	}
}

// ownDir is where the installer's executable is: its plugins lie beside it.
func ownDir() string {
	path, err := os.Executable()
	if err != nil {
		return "."
	}
	return filepath.Dir(path)
}
