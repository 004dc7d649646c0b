package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The build root is made and inhabited by three processes of this program, each started by the one before
// it through the hidden command of ChildMain. The daemon itself never changes its namespaces.
//
//	setup  in a mount namespace of its own, with the builder's privileges: mounts the layers and binds, starts init,
//	       waits for it, and passes its exit code on. When it dies, so does everything below it.
//	hold   only holds the user namespace that ID-mapped mounts take their mapping from.
//	init   PID 1 of the build root's namespaces: pivots into it, and becomes
//	confined  that has only what a job may have: proves that it cannot get out, runs emerge, reaps.

// Descriptors that the children inherit.
const (
	specFD  = 3 // setup and init: the rootSpec as JSON, in a file
	readyFD = 4 // setup and init: nothing, or the text of an error; closed when emerge runs
)

// ChildMain is the main function of the processes above; it does not return.
func ChildMain(stage string) {
	run := map[string]func() (int, error){
		"setup": setupMain, "hold": holdMain, "init": initMain, "confined": confinedMain,
	}[stage]
	if run == nil {
		fmt.Fprintln(os.Stderr, "lantage: this command is started by lantage itself")
		os.Exit(2)
	}
	syscall.CloseOnExec(specFD) // inherited descriptors are not by themselves
	syscall.CloseOnExec(readyFD)
	code, err := run()
	if err != nil {
		ready := os.NewFile(readyFD, "ready")
		fmt.Fprint(ready, err.Error())
		os.Exit(1)
	}
	os.Exit(code)
}

// program is this one.
var program = "/proc/self/exe"

// child is a command that runs a further stage of this program and dies with its parent.
func child(stage string, attr *syscall.SysProcAttr, files ...*os.File) *exec.Cmd {
	cmd := exec.Command(program, "build-root", stage)
	cmd.Args[0] = "lantage"
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = attr
	cmd.ExtraFiles = files
	cmd.Env = []string{}
	return cmd
}

// idMappings maps the 65,536 IDs of the build root to the job's range.
func idMappings(first int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: first, Size: idsOfJob}}
}

// setupMain runs in a mount namespace that the daemon made for it.
func setupMain() (int, error) {
	runtime.LockOSThread() // Pdeathsig is about the thread that starts a child
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	spec, err := readSpec(specFD)
	if err != nil {
		return 0, err
	}
	// Where memory is short, jobs go first. Set with the builder's privileges, it cannot be taken back without them.
	if err := ignoreMissing(os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)); err != nil {
		return 0, err
	}
	if err := setLimits(spec.Limits); err != nil {
		return 0, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("cannot make the mounts private: %w", err)
	}
	// A user namespace may mount a proc only where a whole one is to be seen, which that of a container (lxcfs, say, over
	// /proc/cpuinfo) is not. Where the kernel refuses this one, too, init says so.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	userns, stop, err := holdUserNamespace(spec.FirstID)
	if err != nil {
		return 0, err
	}
	defer stop()
	if err := mountAll(spec, userns); err != nil {
		return 0, err
	}
	// Inherited by init, whose root could not pass the directories above it.
	if err := os.Chdir(spec.mountpoint()); err != nil {
		return 0, err
	}
	return runInit(spec, term)
}

// holdUserNamespace starts a process whose user namespace has the job's ID mapping and returns a descriptor
// of it.
func holdUserNamespace(first int) (int, func(), error) {
	hold := child("hold", &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: idMappings(first), GidMappings: idMappings(first),
	})
	stdin, err := hold.StdinPipe()
	if err != nil {
		return -1, nil, err
	}
	if err := hold.Start(); err != nil {
		return -1, nil, explainUserNamespace(err)
	}
	stop := func() { stdin.Close(); hold.Wait() }
	fd, err := unix.Open("/proc/"+strconv.Itoa(hold.Process.Pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		stop()
		return -1, nil, fmt.Errorf("cannot open the user namespace: %w", err)
	}
	return fd, stop, nil
}

// holdMain lives until its parent closes its standard input.
func holdMain() (int, error) {
	_, err := io.Copy(io.Discard, os.Stdin)
	return 0, err
}

// kernelDirs are where the kernel's own file systems, and those in memory, are mounted: a base may lack some.
var kernelDirs = []string{"/proc", "/sys", "/dev", "/run", "/tmp"}

// mountAll makes the build root at spec.mountpoint().
func mountAll(spec *rootSpec, userns int) error {
	if err := mountLayer(spec, 0, userns, spec.mountpoint()); err != nil {
		return err
	}
	t, err := openTree(spec.mountpoint())
	if err != nil {
		return err
	}
	for i := 1; i < len(spec.Layers); i++ {
		if err := addLayer(t, spec, i, userns); err != nil {
			return err
		}
	}
	for _, dir := range kernelDirs {
		if err := t.mkdirAll(dir, spec.FirstID); err != nil {
			return err
		}
	}
	for i := range spec.MaskDirs {
		if err := hide(t, spec, i); err != nil {
			return err
		}
	}
	for _, f := range spec.Remove {
		// Where a layer is shown as it is (addLayer) nothing can be removed, and the job cannot read it: see prove.
		if err := t.remove(f); err != nil && !errors.Is(err, unix.EROFS) {
			return err
		}
	}
	for _, f := range spec.Files {
		if err := t.write(f, spec.FirstID); err != nil {
			return err
		}
	}
	if spec.Inputs != "" {
		if err := t.resolve(spec.Inputs); err != nil {
			return err
		}
	}
	for _, b := range spec.Binds {
		if err := mountBind(t, b, spec.FirstID, userns); err != nil {
			return err
		}
	}
	if spec.MakeConf != "" {
		if err := t.appendMakeConf(spec.MakeConf, spec.FirstID); err != nil {
			return err
		}
	}
	return mountSys(t)
}

// addLayer mounts a layer other than the root. One whose file system cannot shift owners (NFS, say, with the ebuild
// repositories) is shown as it is, read-only: what everybody may read can still be read.
func addLayer(t tree, spec *rootSpec, i, userns int) error {
	merged := spec.layerDir("merged", i)
	if err := os.MkdirAll(merged, 0o755); err != nil {
		return err
	}
	l := spec.Layers[i]
	err := mountLayer(spec, i, userns, merged)
	if err == nil {
		return moveInto(t, merged, l.Target)
	}
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	plain, err := cloneTree(l.Source)
	if err != nil {
		return err
	}
	defer unix.Close(plain)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(plain, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return &os.PathError{Op: "mount read-only", Path: l.Source, Err: err}
	}
	return t.attach(plain, l.Target)
}

// mountLayer mounts layer i at merged: an overlay over the layer's tree with shifted owners.
func mountLayer(spec *rootSpec, i, userns int, merged string) error {
	l, lower := spec.Layers[i], spec.layerDir("lower", i)
	mount, err := cloneTree(l.Source)
	if err != nil {
		return explainMountAPI(err)
	}
	defer unix.Close(mount)
	if err := mapIDs(mount, userns, unix.MOUNT_ATTR_RDONLY); err != nil {
		return explainIDMap(l, err)
	}
	if err := unix.MoveMount(mount, "", unix.AT_FDCWD, lower, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "mount", Path: lower, Err: err}
	}
	upper := spec.layerDir("upper", i)
	if err := copyMode(l.Source, upper, spec.FirstID); err != nil {
		return err
	}
	// volatile: the upper layer is thrown away, so nothing in it need ever be flushed.
	options := "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + spec.layerDir("work", i) + ",volatile"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return explainOverlay(spec.Dir, err)
	}
	return nil
}

// copyMode gives the upper directory the owner and mode of the directory that it will stand for.
func copyMode(from, to string, firstID int) error {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return &os.PathError{Op: "stat", Path: from, Err: err}
	}
	if st.Uid >= idsOfJob || st.Gid >= idsOfJob {
		st.Uid, st.Gid = 0, 0
	}
	if err := os.Chown(to, firstID+int(st.Uid), firstID+int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(to, st.Mode&0o7777)
}

// moveInto moves the mount at dir to target inside the tree.
func moveInto(t tree, dir, target string) error {
	at, err := t.open(target, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	if err := unix.MoveMount(unix.AT_FDCWD, dir, at, "", unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "mount in the build root", Path: target, Err: err}
	}
	return nil
}

// hide mounts an empty directory over spec.MaskDirs[i], if there is one. It is on the disk, as all that the job writes: in memory
// what a job puts there would not be counted.
func hide(t tree, spec *rootSpec, i int) error {
	at, err := t.open(spec.MaskDirs[i], unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return ignoreMissing(err)
	}
	unix.Close(at)
	empty, err := spec.ownDir(fmt.Sprintf("mask-%d", i), 0o755)
	if err != nil {
		return err
	}
	return mountBind(t, bind{Source: empty, Target: spec.MaskDirs[i]}, spec.FirstID, -1)
}

// mountBind shows a directory of the builder in the build root.
func mountBind(t tree, b bind, firstID, userns int) error {
	if err := t.mkdirAll(b.Target, firstID); err != nil {
		return err
	}
	mount, err := cloneTree(b.Source)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if b.ReadOnly {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	if b.IDMap {
		err = mapIDs(mount, userns, attr)
	} else {
		err = unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attr})
	}
	if err != nil {
		return explainIDMap(Layer{b.Source, b.Target}, err)
	}
	return t.attach(mount, b.Target)
}

// mountSys shows the builder's /sys, read-only: builds look there for the number of CPUs.
func mountSys(t tree) error {
	mount, err := cloneTree("/sys")
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC,
	}); err != nil {
		return fmt.Errorf("/sys read-only: %w", err)
	}
	return ignoreMissing(t.attach(mount, "/sys"))
}

// runInit starts PID 1 of the build root and waits until it, and with it every process of the job, is gone.
func runInit(spec *rootSpec, term <-chan os.Signal) (int, error) {
	ready, specFile := os.NewFile(readyFD, "ready"), os.NewFile(specFD, "spec")
	namespaces := uintptr(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS)
	if _, err := os.Stat("/proc/self/ns/cgroup"); err == nil {
		namespaces |= syscall.CLONE_NEWCGROUP
	}
	cmd := child("init", &syscall.SysProcAttr{
		Cloneflags:  namespaces,
		UidMappings: idMappings(spec.FirstID), GidMappings: idMappings(spec.FirstID),
		GidMappingsEnableSetgroups: true, // Portage drops to its own user and groups
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
		Setsid:                     true,
	}, specFile, ready)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, explainUserNamespace(err)
	}
	ready.Close()
	done := make(chan struct{})
	go func() {
		select {
		case <-term:
			cmd.Process.Kill()
		case <-done:
		}
	}()
	err := cmd.Wait()
	close(done)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitCode(exit.Sys().(syscall.WaitStatus)), nil
	}
	return 0, err
}

// exitCode is a process's end as a shell would say it.
func exitCode(st syscall.WaitStatus) int {
	if st.Signaled() {
		return 128 + int(st.Signal())
	}
	return st.ExitStatus()
}

// removeRoot removes what a build root leaves on disk.
func removeRoot(dir string) error {
	for _, kind := range []string{"root", "lower-*", "upper-*", "work-*", "merged-*", "mask-*", "tmp", ownDistDir, sentDir} {
		found, _ := filepath.Glob(filepath.Join(dir, kind))
		for _, f := range found {
			if err := RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}
