// Command lab makes a lab to play in: hosts with real Portage, in network namespaces, on this machine.
//
//	lab up [-binary FILE] [-hosts tower*,lappy]   start a lab, which stays until taken down; * marks builders, ~ one that is not Gentoo
//	lab enter HOST [COMMAND...]                   a shell, or a command, on a host
//	lab down                                      take the lab down: nothing of it stays
//	lab base                                      make the base root only, which takes a minute the first time
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"lantage/test/lab"
)

func main() {
	lab.Main()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say up, enter HOST, down or base")
	}
	switch command, args := args[0], args[1:]; command {
	case "up":
		return up(args)
	case "hold":
		return hold(ctx, args)
	case "enter":
		return enter(ctx, args)
	case "down":
		return down()
	case "base":
		base, err := lab.Base(ctx)
		if err == nil {
			fmt.Println(base)
		}
		return err
	default:
		return fmt.Errorf("%q: say up, enter HOST, down or base", command)
	}
}

// state is what the file up.json in the cache says about the lab that is up.
type state struct {
	Owner int // the process that holds it
	Hosts []host
}

type host struct {
	Name    string
	Builder bool
	PID     int
	IP, IP6 string
}

func stateFile() (string, error) {
	dir, err := lab.Cache()
	return filepath.Join(dir, "up.json"), err
}

// lock takes the lock that the process which holds a lab has as long as it lives.
func lock(how int) (*os.File, error) {
	dir, err := lab.Cache()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "up.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// current returns the lab that is up.
func current() (s state, err error) {
	f, err := lock(syscall.LOCK_EX | syscall.LOCK_NB)
	if err == nil {
		f.Close()
		return s, errors.New("no lab is up: make one with 'lab up'")
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return s, err
	}
	name, err := stateFile()
	if err != nil {
		return s, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

// up starts a process that holds a lab and outlives this one.
func up(args []string) error {
	if _, err := lab.Base(context.Background()); err != nil { // with its progress where people see it
		return err
	}
	var said bytes.Buffer
	holder := exec.Command("/proc/self/exe", append([]string{"hold"}, args...)...)
	holder.Stderr = os.Stderr
	holder.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := holder.StdoutPipe()
	if err != nil {
		return err
	}
	if err := holder.Start(); err != nil {
		return err
	}
	if _, err := io.Copy(&said, out); err != nil { // to the end: then the lab is up, or the holder has ended
		return err
	}
	if said.Len() == 0 {
		return errors.Join(errors.New("no lab"), holder.Wait())
	}
	_, err = os.Stdout.Write(said.Bytes())
	return err
}

// hold makes a lab, says how to use it, and holds it until a signal comes.
func hold(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	binary := flags.String("binary", "", "program to be lantage on the hosts; default: ./lantage, if there")
	names := flags.String("hosts", "tower*,lappy", "names of the hosts; builders are marked with *, one that is not Gentoo with ~")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := os.Stat("lantage"); err == nil && *binary == "" {
		*binary = "lantage"
	}
	held, err := lock(syscall.LOCK_EX | syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("a lab is up already: take it down with 'lab down'")
	}
	if err != nil {
		return err
	}
	defer held.Close()

	o := lab.Options{Binary: *binary}
	for name := range strings.SplitSeq(*names, ",") {
		plain := strings.TrimRight(name, "*~")
		kind := name[len(plain):]
		o.Hosts = append(o.Hosts, lab.HostSpec{Name: plain, Builder: kind == "*", Foreign: kind == "~"})
	}
	l, err := lab.New(ctx, o)
	if err != nil {
		return err
	}
	defer l.Close()
	s := state{Owner: os.Getpid()}
	for i, h := range l.Hosts {
		s.Hosts = append(s.Hosts, host{h.Name, o.Hosts[i].Builder || o.Hosts[i].Foreign, h.PID(), h.IP(), h.IP6()})
	}
	name, err := stateFile()
	if err != nil {
		return err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	defer os.Remove(name)
	explain(os.Stdout, s)
	// From here on nobody listens.
	os.Stdout.Close()
	os.Stderr.Close()
	<-ctx.Done()
	return l.Close()
}

// explain says how to use the lab.
func explain(w io.Writer, s state) {
	fmt.Fprintln(w, "The lab is up. Enter a host with one of these:")
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, h := range s.Hosts {
		kind := "client"
		if h.Builder {
			kind = "builder"
		}
		fmt.Fprintf(t, "  go run ./test/lab/cmd/lab enter %s\t%s\t%s, %s\tor: nsenter -a -t %d\n",
			h.Name, kind, h.IP, h.IP6, h.PID)
	}
	t.Flush()
	fmt.Fprintln(w, "Take it down with: go run ./test/lab/cmd/lab down")
}

func enter(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("enter which host?")
	}
	s, err := current()
	if err != nil {
		return err
	}
	for _, h := range s.Hosts {
		if h.Name != args[0] {
			continue
		}
		command := args[1:]
		if len(command) == 0 {
			command = []string{"bash", "-l"}
		}
		cmd := lab.Enter(ctx, h.PID, command[0], command[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(cmd.Env, "TERM="+os.Getenv("TERM"))
		return cmd.Run()
	}
	return fmt.Errorf("no host %s in this lab", args[0])
}

// down ends the lab that is up, and waits until it is gone.
func down() error {
	s, err := current()
	if err != nil {
		return err
	}
	if err := syscall.Kill(s.Owner, syscall.SIGTERM); err != nil {
		return err
	}
	gone, err := lock(syscall.LOCK_EX)
	if err != nil {
		return err
	}
	return gone.Close()
}
