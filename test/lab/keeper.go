package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// labSpec is what the owner tells the keeper, as one line of JSON.
type labSpec struct {
	Base   string // path of the base root
	Parent string // the lab's directory is made in here
	Repo   string
	Binary string
	Hosts  []hostSpec
}

// hostSpec is what the keeper tells process 1 of a host.
type hostSpec struct {
	HostSpec
	Number int // from 1; part of its addresses

	// Filled in by the keeper.
	Dir    string // the host's directory on this machine
	Base   string
	Repo   string
	Binary string
	Names  string // contents of /etc/hosts
}

// answer is what the keeper tells the owner when the hosts run, or when they cannot.
type answer struct {
	Error string
	Dir   string
	PIDs  []int // of each host's process 1
}

// keep is the role of the keeper. It runs in the network namespace that the hosts are plugged into.
func keep([]string) (int, error) {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	var s labSpec
	if err := json.Unmarshal(line, &s); err != nil {
		return 0, err
	}
	var a answer
	hosts, err := raise(s, &a)
	if err != nil {
		a.Error = err.Error()
	}
	// An owner that is gone by now shows in the next read.
	_ = json.NewEncoder(os.Stdout).Encode(a)
	_, _ = io.Copy(io.Discard, in)

	for _, h := range hosts {
		_ = h.Process.Kill()
	}
	for _, h := range hosts {
		_ = h.Wait() // returns when all processes of the host are dead
	}
	if a.Dir == "" {
		return 0, nil
	}
	return 0, os.RemoveAll(a.Dir)
}

// raise makes the lab's directory and starts the hosts. It returns those that run, also after an error.
func raise(s labSpec, a *answer) (hosts []*exec.Cmd, err error) {
	if err := suitable(s.Parent); err != nil {
		return nil, err
	}
	if a.Dir, err = os.MkdirTemp(s.Parent, "run-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(a.Dir, 0o755); err != nil { // its directories are the hosts' roots
		return nil, err
	}
	names := etcHosts(s.Hosts)
	var ready []io.Reader
	for _, h := range s.Hosts {
		h.Dir = filepath.Join(a.Dir, h.Name)
		h.Base, h.Repo, h.Binary, h.Names = s.Base, s.Repo, s.Binary, names
		cmd, out, err := startHost(h)
		if err != nil {
			return hosts, fmt.Errorf("host %s: %w", h.Name, err)
		}
		hosts = append(hosts, cmd)
		ready = append(ready, out)
		a.PIDs = append(a.PIDs, cmd.Process.Pid)
	}
	for i, out := range ready {
		text, err := bufio.NewReader(out).ReadString('\n')
		if text = strings.TrimSpace(text); text == "" {
			text = fmt.Sprintf("its process 1 ended: %v", err)
		}
		if text != "ready" {
			return hosts, fmt.Errorf("host %s: %s", s.Hosts[i].Name, text)
		}
	}
	return hosts, connect(s.Hosts, a.PIDs)
}

// suitable says why a directory cannot hold hosts' roots.
func suitable(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Type == unix.TMPFS_MAGIC || st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is on a tmpfs or an overlay, which cannot hold the hosts' roots: "+
			"name a directory on a real file system in LANTAGE_LAB_CACHE", dir)
	}
	return nil
}

// startHost starts process 1 of a host in namespaces of its own. It says "ready", or what went wrong, on out.
func startHost(h hostSpec) (cmd *exec.Cmd, out io.Reader, err error) {
	spec, err := json.Marshal(h)
	if err != nil {
		return nil, nil, err
	}
	cmd = again(roleHost)
	cmd.Stdin = strings.NewReader(string(spec))
	cmd.Stderr = os.Stderr
	cmd.Env = environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: hostNamespaces, Pdeathsig: syscall.SIGKILL}
	out, err = cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("namespaces: %w", err)
	}
	return cmd, out, nil
}

// etcHosts is the /etc/hosts of all hosts.
func etcHosts(hosts []hostSpec) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, h := range hosts {
		fmt.Fprintf(&b, "%s %s\n%s %s\n", ipv4(h.Number), h.Name, ipv6(h.Number), h.Name)
	}
	return b.String()
}

func ipv4(number int) string { return fmt.Sprintf("10.77.0.%d", number) }
func ipv6(number int) string { return fmt.Sprintf("fd77::%x", number) }

// connect plugs the hosts into a bridge in the network namespace of this process. Addresses are usable at
// once: nothing checks for duplicates, and the bridge passes all multicast.
func connect(hosts []hostSpec, pids []int) error {
	var b strings.Builder
	b.WriteString("link set lo up\n")
	b.WriteString("link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n")
	b.WriteString("link set switch up\n")
	for i, h := range hosts {
		fmt.Fprintf(&b, "link add port%d type veth peer name eth0 netns %d\n", h.Number, pids[i])
		fmt.Fprintf(&b, "link set port%d master switch up\n", h.Number)
	}
	if err := ip(b.String()); err != nil {
		return fmt.Errorf("the hosts' network: %w", err)
	}
	for i, h := range hosts {
		b.Reset()
		b.WriteString("link set lo up\n")
		b.WriteString("link set eth0 addrgenmode none\n")
		b.WriteString("link set eth0 up\n")
		fmt.Fprintf(&b, "address add %s/24 dev eth0\n", ipv4(h.Number))
		fmt.Fprintf(&b, "address add %s/64 dev eth0 nodad\n", ipv6(h.Number))
		fmt.Fprintf(&b, "address add fe80::%x/64 dev eth0 nodad\n", h.Number)
		if !h.NoDefaultRoute {
			// Nobody has this address: what leaves the lab fails with "no route to host".
			b.WriteString("route add default via 10.77.0.254\n")
		}
		if err := ip(b.String(), "nsenter", "--net", "-t", fmt.Sprint(pids[i])); err != nil {
			return fmt.Errorf("network of %s: %w", h.Name, err)
		}
	}
	return nil
}

// ip runs the commands of a batch for ip(8), with a prefix such as nsenter(1).
func ip(batch string, prefix ...string) error {
	args := append(prefix, "ip", "-batch", "-")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(batch)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(strings.TrimSpace(string(out))))
	}
	return nil
}
