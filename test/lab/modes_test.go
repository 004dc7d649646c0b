package lab_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// modes are what this program does when its first argument says so: on a host, where it is
// /usr/local/bin/lantage, or as the owner of a lab.
var modes = map[string]func(args []string) error{
	"listen": listen,
	"send":   send,
	"dial":   dial,
	"idmap":  idmap,
	"own":    own,
}

// listen waits for one packet to a multicast group and answers it.
func listen(args []string) error {
	group, err := net.ResolveUDPAddr("udp", args[0])
	if err != nil {
		return err
	}
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	conn, err := net.ListenMulticastUDP("udp", eth0, group)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, from, err := conn.ReadFromUDP(make([]byte, 100))
	if err != nil {
		return err
	}
	_, err = conn.WriteToUDP([]byte("answer"), from)
	return err
}

// send sends one packet to a multicast group and waits for the answer.
func send(args []string) error {
	group, err := net.ResolveUDPAddr("udp", args[0])
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return err
	}
	if _, err := conn.WriteToUDP([]byte("question"), group); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _, err = conn.ReadFromUDP(make([]byte, 100))
	return err
}

func dial(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], 10*time.Second)
	if err == nil {
		conn.Close()
	}
	return err
}

// idmap mounts a copy of / in which every owner is shifted by 100000, as a builder's build roots need it,
// and checks that it is so. It exits with an error on a file system that cannot.
func idmap([]string) error {
	const shift = 100000
	runtime.LockOSThread()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: shift, Size: 65536}}
	holder := exec.Command("sleep", "60")
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL,
	}
	if err := holder.Start(); err != nil {
		return fmt.Errorf("user namespace: %w", err)
	}
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	userns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid))
	if err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	attr := unix.MountAttr{
		Attr_set:  unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY,
		Userns_fd: uint64(userns.Fd()),
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, "usr/bin/emerge", &st, 0); err != nil {
		return err
	}
	if st.Uid != shift {
		return errors.New("the mount is not ID-mapped")
	}
	return nil
}
