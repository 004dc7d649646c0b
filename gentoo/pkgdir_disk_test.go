package gentoo

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// fullDiskEnv tells the test that it runs in a mount namespace of its own.
const fullDiskEnv = "LANTAGE_TEST_FULL_DISK"

// TestPkgDirFullDisk fills a tiny file system. It runs itself again in a new mount namespace, so that
// nothing can stay mounted.
func TestPkgDirFullDisk(t *testing.T) {
	if os.Getenv(fullDiskEnv) == "" {
		runInMountNamespace(t)
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	// Else the directory, read-only by then, could not be removed.
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	p, err := OpenPkgDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := add(p, helloName, strings.Repeat("x", 200_000)); !errors.Is(err, ErrNoSpace) {
		t.Errorf("full disk: %v", err)
	}
	if files := filesIn(t, dir); len(files) != 0 {
		t.Errorf("left on the full disk: %v", files)
	}
	if _, err := add(p, helloName, "small"); err != nil {
		t.Errorf("after that: %v", err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := add(p, helloName, "other"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
}

func runInMountNamespace(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fullDiskEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this kernel gives this user no mount namespace")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDiskError(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.ENOSPC: ErrNoSpace, syscall.EDQUOT: ErrNoSpace, syscall.EROFS: ErrReadOnly,
		syscall.EACCES: ErrPermission, syscall.EPERM: ErrPermission,
	} {
		err := diskError(&fs.PathError{Op: "write", Path: "x", Err: errno})
		if !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v becomes %v", errno, err)
		}
	}
}

func TestValidBinpkgPath(t *testing.T) {
	for rel, ok := range map[string]bool{
		helloName:                                                  true,
		"lab-misc/hello/hello-1.0-r1-12.xpak":                      true,
		"lab-misc/hello-1.0-r1.gpkg.tar":                           true,
		"lab-misc/hello-1.0-r1.tbz2":                               true,
		"lab-misc/hello/hello-1.0-r1-1.tbz2":                       false,
		"lab-misc/hello-1.0-r1.xpak":                               false,
		"lab-misc/hello/hello-1.0-r1.gpkg.tar":                     false,
		"lab-misc/hello/hello-1.0-r1-0.gpkg.tar":                   false,
		"lab-misc/hello/hello-1.0-r1-01.gpkg.tar":                  false,
		"lab-misc/hello/hello-1.0-r1--1.gpkg.tar":                  false,
		"lab-misc/hello/hello-1.0-r1-+1.gpkg.tar":                  false,
		"lab-misc/hello/hello-1.0-r1-9999999999999999999.gpkg.tar": false,
		"lab-misc/hello/hello-1.0-r2-1.gpkg.tar":                   false,
		"lab-misc/hullo/hello-1.0-r1-1.gpkg.tar":                   false,
		"All/hello-1.0-r1.tbz2":                                    false,
		"./" + helloName:                                           false,
		"/" + helloName:                                            false,
		"../" + helloName:                                          false,
		helloName + ".sig":                                         false,
		helloName + "\x00":                                         false,
		"lab-misc//hello/hello-1.0-r1-1.gpkg.tar":                  false,
		"": false,
	} {
		if err := ValidBinpkgPath(rel, hello); (err == nil) != ok {
			t.Errorf("%q: %v", rel, err)
		}
	}
	if err := ValidBinpkgPath("../x/x-1.tbz2", CPV{"..", "x", "1"}); err == nil {
		t.Error("a category of .. passes")
	}
}
