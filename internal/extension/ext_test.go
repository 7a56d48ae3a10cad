// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// This test's binary, under another name, is an extension, and its name says what is wrong with it.

func TestMain(m *testing.M) {
	kind, name, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	switch {
	case kind == echoKind.Name:
		be(name)
	case kind == "supervise":
		supervise(os.Args[1], os.Args[2], os.Args[3])
	default:
		os.Exit(m.Run())
	}
}

var handshake = plugin.HandshakeConfig{MagicCookieKey: "FLOCK_ECHO", MagicCookieValue: "yes"}

// echoKind is a contract of one call: say something, and be answered.
var echoKind = Kind{Name: "echo", Handshake: handshake, Versions: versions(1, 2)}

func versions(of ...int) map[int]plugin.PluginSet {
	sets := map[int]plugin.PluginSet{}
	for _, v := range of {
		sets[v] = plugin.PluginSet{"echo": echoPlugin{}}
	}
	return sets
}

type echoPlugin struct {
	plugin.NetRPCUnsupportedPlugin
}

func (echoPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return echo{conn}, nil
}

func (echoPlugin) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "flock.echo.v1.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: hear}}}, nil)
	return nil
}

// echo is the host's side.
type echo struct{ conn *grpc.ClientConn }

func (e echo) say(ctx context.Context, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var answer wrapperspb.StringValue
	err := e.conn.Invoke(ctx, "/flock.echo.v1.Echo/Say", wrapperspb.String(text), &answer)
	return answer.Value, err
}

func hear(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var said wrapperspb.StringValue
	if err := decode(&said); err != nil {
		return nil, err
	}
	return wrapperspb.String(obey(said.Value)), nil
}

// obey does what an extension is told.
func obey(said string) string {
	switch said {
	case "env":
		return strings.Join(os.Environ(), "\n")
	case "panic":
		go func() { panic("out of luck") }()
		forever()
	case "leave":
		os.Exit(0)
	case "hang":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		forever() // another thread may have been stopped first
	case "offspring":
		return strconv.Itoa(beget(false))
	case "runaway":
		return strconv.Itoa(beget(true))
	case "flood":
		// The pipe that go-plugin puts in the place of standard error.
		for range 20_000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("blah ", 20))
		}
	case "shout":
		for range 20_000 {
			fmt.Fprintln(rawErr, strings.Repeat("blah ", 20))
		}
	case "print":
		fmt.Println("printed")
	case "year":
		return time.Now().UTC().Format("2006")
	}
	return "heard " + said
}

// beget starts a process that holds the extension's standard output and error, in its group or out of it.
func beget(away bool) int {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"echo-mute"}
	cmd.Stdout, cmd.Stderr = rawOut, rawErr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: away}
	if err := cmd.Start(); err != nil {
		return 0
	}
	return cmd.Process.Pid
}

// What the extension was started with.
var rawOut, rawErr = os.Stdout, os.Stderr

// be behaves as the extension of the name.
func be(name string) {
	config := &plugin.ServeConfig{HandshakeConfig: handshake, VersionedPlugins: versions(1),
		GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger()}
	switch name {
	case "newer":
		config.VersionedPlugins = versions(2, 3)
	case "alien":
		config.VersionedPlugins = versions(9)
	case "cookie":
		config.MagicCookieValue = "no"
	case "netrpc":
		config.GRPCServer = nil
	case "mute":
		forever()
	case "crash":
		fmt.Fprintln(os.Stderr, "open /etc/licence: no such file")
		os.Exit(3)
	case "verbose":
		fmt.Fprint(os.Stderr, strings.Repeat("blah\n", 12_000), "that is all\n") // as much as the pipe holds
		os.Exit(3)
	case "panic":
		panic("out of luck")
	case "chatter":
		fmt.Println("Hello, world!")
		forever()
	case "tcp":
		shakeAt("tcp", "127.0.0.1:0")
	case "elsewhere":
		os.Unsetenv(plugin.EnvUnixSocketDir)
		os.Unsetenv("TMPDIR")
	case "plain":
		os.Unsetenv("PLUGIN_CLIENT_CERT")
	case "deaf":
		shakeAt("unix", filepath.Join(os.Getenv(plugin.EnvUnixSocketDir), "plugin"))
	case "flood":
		for range 200_000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("blah ", 20))
		}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		defer forever()
	case "tidy":
		defer fmt.Fprintln(rawErr, "tidied up")
	case "behind":
		serveIn(2000, config)
	case "ahead":
		serveIn(2080, config)
	}
	plugin.Serve(config)
}

// forever waits as a program does that serves something: Go ends one in which nothing can happen any more.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

// shakeAt has the handshake and then serves nothing.
func shakeAt(network, address string) {
	listener, err := net.Listen(network, address)
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode([]byte(os.Getenv("PLUGIN_CLIENT_CERT"))) // any certificate will do
	fmt.Printf("1|1|%s|%s|grpc|%s\n", network, listener.Addr(), base64.RawStdEncoding.EncodeToString(block.Bytes))
	forever()
}
