package daemon

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lantage/archive"
	"lantage/build"
	"lantage/wire"
)

// tarOf packs whatever a hostile client could.
func tarOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, h := range entries {
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func hardLink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

func file(name string, size int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size}
}

func dir(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
}

func TestHostileInputs(t *testing.T) {
	defer func(l archive.Limits) { inputsLimits = l }(inputsLimits)
	inputsLimits.Entries, inputsLimits.Bytes, inputsLimits.EntryBytes = 2*maxResolved, 2*maxResolvedBytes, maxResolvedBytes
	good := tarOf(t, file("etc/portage/make.conf", 10))
	half := inputsLimits.Bytes / 5 * 2
	more := file("etc/portage/c", half)
	many := make([]tar.Header, inputsLimits.Entries+1)
	for i := range many {
		many[i] = dir("etc/portage")
	}
	var resolvedFiles []tar.Header
	for i := range maxResolved + 1 {
		resolvedFiles = append(resolvedFiles, file(fmt.Sprintf("resolved/%d", i), 1))
	}
	tests := map[string][]byte{
		"no archive":            []byte("hello"),
		"nothing":               nil,
		"cut":                   good[:len(good)-9],
		"bytes behind":          append(bytes.Clone(good), "x"...),
		"upwards":               tarOf(t, file("etc/portage/../../../x", 1)),
		"absolute":              tarOf(t, file("/etc/portage/x", 1)),
		"device":                tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "etc/portage/x"}),
		"fifo":                  tarOf(t, tar.Header{Typeflag: tar.TypeFifo, Name: "etc/portage/x"}),
		"beside etc":            tarOf(t, file("usr/x", 1)),
		"beside portage":        tarOf(t, file("etc/passwd", 1)),
		"etc is a link":         tarOf(t, link("etc", "/etc")),
		"portage is a link":     tarOf(t, link("etc/portage", "/etc/portage")),
		"link out of repos":     tarOf(t, link("repos/x/y", "../../../y")),
		"repos is a link":       tarOf(t, link("repos", "/etc")),
		"through a repository":  tarOf(t, link("repos/x", "/tmp"), file("repos/x/y", 1)),
		"through a link":        tarOf(t, link("etc/portage/x", "/tmp"), file("etc/portage/x/y", 1)),
		"link out, relative":    tarOf(t, link("etc/portage/x", "../../../../etc/shadow")),
		"hard link to the host": tarOf(t, hardLink("etc/portage/x", "etc/shadow")),
		"twice":                 tarOf(t, file("etc/portage/x", 1), file("etc/portage/x", 1)),
		"large entry":           tarOf(t, file("etc/portage/x", inputsLimits.EntryBytes+1)),
		"bomb":                  tarOf(t, file("etc/portage/a", half), file("etc/portage/b", half), more),
		"too many":              tarOf(t, many...),
		"resolved: a link":      tarOf(t, link("resolved/etc/make.conf", "/etc/shadow")),
		"resolved is a link":    tarOf(t, link("resolved", "/etc")),
		"resolved is a file":    tarOf(t, file("resolved", 1)),
		"resolved: out":         tarOf(t, file("resolved/../../x", 1)),
		"resolved: too many":    tarOf(t, resolvedFiles...),
		"resolved: large":       tarOf(t, file("resolved/a", maxResolvedBytes/2), file("resolved/b", maxResolvedBytes/2+1)),
	}
	r := newRig(t, 1)
	for name, inputs := range tests {
		p := r.dial()
		p.submitWith(jobOf(1, "a/one-1"), inputs)
		text := p.refused(wire.CodeBadRequest)
		if !strings.HasPrefix(text, "the job is refused: its configuration: ") {
			t.Errorf("%s: error %q", name, text)
		}
		p.close()
	}
	r.shutDown() // when all sessions have ended
	if dirs := r.jobDirs(); len(dirs) != 0 || len(r.runner.runs) != 0 {
		t.Errorf("directories %q are left and %d jobs ran", dirs, len(r.runner.runs))
	}
}

func TestResolvedInputs(t *testing.T) {
	r := newRig(t, 1)
	p := r.dial()
	p.submitWith(jobOf(1, "a/one-1"), tarOf(t, file("etc/portage/make.conf", 3), file("resolved/var/db/repos/x/profiles/make.defaults", 3)))
	run := r.next()
	if _, err := os.Stat(filepath.Join(run.job.Inputs, "resolved/var/db/repos/x/profiles/make.defaults")); err != nil {
		t.Error(err)
	}
	run.finish(build.StateSkipped)
}

func TestLinksInInputs(t *testing.T) {
	r := newRig(t, 1)
	p := r.dial()
	p.submitWith(jobOf(1, "a/one-1"), tarOf(t,
		file("etc/portage/real", 3), link("etc/portage/a", "real"), link("etc/portage/d/b", "../real"),
		link("etc/portage/c", "x/../real"), link("etc/portage/patches", "/var/db/repos/x/patches"),
		file("repos/mine/a/b/b-1.ebuild", 3), link("repos/mine/a/b/b-2.ebuild", "../../a/b/b-1.ebuild"),
	))
	run := r.next()
	for name, want := range map[string]string{
		"../../repos/mine/a/b/b-2.ebuild": "../../a/b/b-1.ebuild",
		"a":                               "real", "d/b": "../real", "c": "x/../real", "patches": "/var/db/repos/x/patches",
	} {
		if got, err := os.Readlink(filepath.Join(run.job.Inputs, "etc/portage", name)); got != want {
			t.Errorf("%s leads to %q, want %q, %v", name, got, want, err)
		}
	}
	run.finish(build.StateSkipped)
}

// TestDamagedStream: the stream's own count and checksum are checked, not only gzip's.
func TestDamagedStream(t *testing.T) {
	r := newRig(t, 1)
	good := tarOf(t, file("etc/portage/make.conf", 10))
	count, sum := endOf(good), endOf(good)
	count[8]++
	sum[len(sum)-1]++
	for name, end := range map[string][]byte{"count": count, "checksum": sum} {
		raw := r.dialRaw()
		raw.frame(wire.TypeSubmit, jsonOf(t, jobOf(1, "a/one-1")))
		raw.frame(wire.TypeData, append([]byte{byte(wire.StreamInputs)}, good...))
		raw.frame(wire.TypeEnd, end)
		if text := raw.refusal(); !strings.Contains(text, "bad-request") {
			t.Errorf("%s: the last words are %q", name, text)
		}
	}
	if len(r.runner.runs) != 0 {
		t.Error("a job ran")
	}
}

func TestInputsError(t *testing.T) {
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	err := inputsError(full, "/var/lib/lantage/jobs/1", "tower")
	want := "tower cannot store the job's configuration in /var/lib/lantage/jobs/1: no space left on device; " +
		"nothing of it was kept"
	if !errors.Is(err, &wire.Error{Code: wire.CodeInternal}) || err.Error() != want {
		t.Errorf("a full disk: %v", err)
	}
	for _, want := range []error{nil, wire.ErrLost, wire.ErrProtocol} {
		if got := inputsError(want, "/", "tower"); got != want {
			t.Errorf("%v became %v", want, got)
		}
	}
}

// TestStateDirGone is as near to a full disk as a test comes: the job's directory cannot be made.
func TestStateDirGone(t *testing.T) {
	r := newRig(t, 1)
	r.dial()
	if err := os.Remove(filepath.Join(r.dir, "jobs")); err != nil {
		t.Fatal(err)
	}
	p := r.dial()
	p.submitWith(jobOf(1, "a/one-1"), nil)
	if text := p.refused(wire.CodeInternal); !strings.Contains(text, "tower cannot store") {
		t.Errorf("error %q", text)
	}
	q := r.dial() // the place was given back
	q.send(wire.TypeAttach, wire.Attach{ID: jobOf(1).ID})
	q.refused(wire.CodeUnknownJob)
}

// endOf is the body of the end frame of inputs.
func endOf(content []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{byte(wire.StreamInputs)}, uint64(len(content)))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
}
