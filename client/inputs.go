package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"lantage/archive"
	"lantage/gentoo"
	"lantage/rootfs"
)

// inputs packs the configuration that a job is built with.
type inputs struct {
	root  string   // where etc/portage is: PORTAGE_CONFIGROOT, mostly "/"
	repos []string // locations of the ebuild repositories: links may lead into them
	warn  func(format string, args ...any)
	none  bool // the builder has the configuration, in its copy of this machine's root

	resolved map[string][]byte // files, by their path without links, in which native flags are written out

	profiles []gentoo.Profile // that make.profile stands for
	overlays []overlay        // repositories that are sent as well

	sent func(sentFile)         // is told of each file; nil: nobody wants to know
	left func(path, why string) // likewise of what is not sent

	portage    string // root's etc/portage, without links
	profileDir bool   // make.profile is a directory
	w          *archive.Writer
}

// pack writes the inputs to a file without a name and returns it with its size. The caller closes it.
func (in *inputs) pack(ctx context.Context) (file *os.File, size int64, err error) {
	if file, err = os.CreateTemp("", "lantage-inputs-*"); err != nil {
		return nil, 0, err
	}
	os.Remove(file.Name())
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	in.w = archive.NewWriter(file, archive.Options{Level: archive.ForText, Reproducible: true})
	err = in.add(ctx)
	if closeErr := in.w.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		var info fs.FileInfo
		if info, err = file.Stat(); err == nil {
			return file, info.Size(), nil
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; what a builder needs must be readable: run this as root, or let its group be "+
			"portage and join that", err)
	}
	return nil, 0, fmt.Errorf("read the configuration in %s: %w", filepath.Join(in.root, "etc/portage"), err)
}

func (in *inputs) add(ctx context.Context) error {
	if in.none {
		return in.addResolved()
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(in.root, "etc/portage"))
	if err != nil {
		return err
	}
	in.portage = dir
	if _, err := os.Stat(filepath.Join(in.root, "etc/make.conf")); err == nil {
		in.warn("%s is not sent to the builder; move it to /etc/portage/make.conf",
			filepath.Join(in.root, "etc/make.conf"))
	}
	for i, repo := range in.repos {
		if real, err := filepath.EvalSymlinks(repo); err == nil {
			in.repos[i] = real
		}
	}
	info, err := os.Lstat(filepath.Join(dir, profileName))
	in.profileDir = err == nil && info.IsDir()
	if err := in.addDir(ctx, dir, "etc/portage", nil); err != nil {
		return err
	}
	if in.profileDir {
		if err := in.addParents(); err != nil {
			return err
		}
	}
	if err := in.addOverlays(ctx); err != nil {
		return err
	}
	return in.addResolved()
}

// addResolved adds the files with another text that are not sent, but in the builder's base already.
func (in *inputs) addResolved() error {
	for _, path := range slices.Sorted(maps.Keys(in.resolved)) {
		sent := !in.none && (within(path, in.portage) || slices.ContainsFunc(in.overlays, func(o overlay) bool {
			return within(path, o.real())
		}))
		if !sent {
			text := withoutCredentials(in.resolved[path])
			if err := in.w.AddBytes(resolvedDir+path, text, 0o644); err != nil {
				return err
			}
			in.tell(path, int64(len(text)), in.note(path, !bytes.Equal(text, in.resolved[path])))
		}
	}
	return nil
}

// resolvedDir is where in the inputs those files are, by their paths.
const resolvedDir = "resolved"

// sentText is the text with which a file goes: native flags are written out, and there are no credentials in it. nil: it is too large for
// a text, and goes as it is. path is without links.
func (in *inputs) sentText(path string, file io.Reader, size int64) (text []byte, note string, err error) {
	content, native := in.resolved[path]
	if !native {
		if size > rootfs.MaxText {
			return nil, "", nil
		}
		if content, err = io.ReadAll(io.LimitReader(file, rootfs.MaxText)); err != nil {
			return nil, "", err
		}
	}
	text = withoutCredentials(content)
	return text, in.note(path, !bytes.Equal(text, content)), nil
}

// note says in which way a file goes with another text.
func (in *inputs) note(path string, blanked bool) string {
	var notes []string
	if in.resolved[path] != nil {
		notes = append(notes, "native flags written out")
	}
	if blanked {
		notes = append(notes, rootfs.Blanked)
	}
	return strings.Join(notes, ", ")
}

// sentFile is one file that leaves this machine.
type sentFile struct {
	path string
	size int64
	note string // in which way it goes with another text
}

func (in *inputs) tell(path string, size int64, note string) {
	if in.sent != nil {
		in.sent(sentFile{path, size, note})
	}
}

// leave tells that a file stays here, if there is a reason for that.
func (in *inputs) leave(path, why string) bool {
	if why != "" && in.left != nil {
		in.left(path, why)
	}
	return why != ""
}

// addTree adds what keep wants of the directory root as name, but no secrets. dir is its path without links.
func (in *inputs) addTree(ctx context.Context, root *os.Root, dir, name string, keep func(string, fs.FileInfo) bool) error {
	var failed error
	err := in.w.AddTree(ctx, root, ".", name, func(rel string, fi fs.FileInfo) bool {
		at := filepath.Join(dir, rel)
		if failed != nil || in.leave(at, secretName(at)) || !keep(rel, fi) {
			return false
		}
		if !fi.Mode().IsRegular() {
			return true
		}
		file, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // what was a file may be a fifo now
		if err == nil {
			err = in.addFile(path.Join(name, rel), at, at, file)
			file.Close()
		}
		failed = err
		return false
	})
	return cmp.Or(failed, err)
}

// secretName says why a file or directory stays here whatever is in it, or "".
func secretName(path string) string {
	if rootfs.SecretName(filepath.Base(path)) {
		return "a secret"
	}
	return ""
}

const profileName = "make.profile"

// addParents adds the parent file of a make.profile that is a directory, without paths of this machine.
func (in *inputs) addParents() error {
	var text strings.Builder
	for _, p := range in.profiles {
		fmt.Fprintln(&text, p)
	}
	return in.w.AddBytes(path.Join("etc/portage", profileName, "parent"), []byte(text.String()), 0o644)
}

// addDir adds a directory, and then what its symbolic links lead to. via are the directories whose links led
// here.
func (in *inputs) addDir(ctx context.Context, dir, name string, via []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var links []string
	err = in.addTree(ctx, root, dir, name, func(rel string, fi fs.FileInfo) bool {
		switch {
		case in.leave(filepath.Join(dir, rel), in.leftOut(filepath.Join(dir, rel))):
			return false
		case fi.Mode().Type() == fs.ModeSymlink:
			links = append(links, rel)
			return false
		}
		return fi.IsDir() || fi.Mode().IsRegular()
	})
	for _, rel := range links {
		if err == nil {
			err = in.addLink(ctx, filepath.Join(dir, rel), path.Join(name, rel), via)
		}
	}
	return err
}

// addLink adds what a symbolic link leads to in the link's place: the builder has nothing else at that path.
// Only what is in the configuration or in a repository is followed; other files of this machine are nobody's
// business.
func (in *inputs) addLink(ctx context.Context, link, name string, via []string) error {
	via = append(slices.Clone(via), filepath.Dir(link))
	target, err := filepath.EvalSymlinks(link)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		in.warn("%s leads nowhere, so the builder does not get it", link)
		return nil
	case !in.mayFollow(target):
		in.warn("%s leads to %s, outside /etc/portage and the repositories, so the builder does not get it",
			link, target)
		return nil
	case in.leave(target, cmp.Or(secretName(target), in.leftOut(target))):
		return nil
	case slices.ContainsFunc(via, func(dir string) bool { return within(dir, target) }):
		in.warn("%s leads round in a circle, so the builder does not get it", link)
		return nil
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return in.addDir(ctx, target, name, via)
	case info.Mode().IsRegular():
		file, err := os.Open(target)
		if err != nil {
			return err
		}
		defer file.Close()
		return in.addFile(name, link, target, file)
	}
	return nil
}

// addFile adds an open file. What goes is what was looked at, whatever becomes of the file meanwhile. shown is its path for people,
// real without links.
func (in *inputs) addFile(name, shown, real string, file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s was replaced while it was read", shown)
	}
	text, note, err := in.sentText(real, file, info.Size())
	if err != nil {
		return err
	}
	if text == nil {
		in.tell(shown, info.Size(), "")
		return in.w.AddFile(name, file)
	}
	in.tell(shown, int64(len(text)), note)
	return in.w.AddReader(name, int64(len(text)), info.Mode(), info.ModTime(), bytes.NewReader(text))
}

func (in *inputs) mayFollow(target string) bool {
	return slices.ContainsFunc(append([]string{in.portage}, in.repos...), func(dir string) bool {
		return within(target, dir)
	})
}

// within reports whether a path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// leftOut says why a file is never sent, or "": what leads to profiles means nothing elsewhere; keys are secrets; and what Portage
// itself does not read is no configuration.
func (in *inputs) leftOut(file string) string {
	if rel, err := filepath.Rel(in.portage, file); err == nil {
		top, _, _ := strings.Cut(rel, "/")
		switch {
		case top == "gnupg":
			return "a secret"
		case rel == profileName+"/parent" || top == profileName && !in.profileDir:
			return "the job names the profile"
		}
	}
	if noContent(filepath.Base(file)) {
		return "Portage does not read it"
	}
	return ""
}

// noContent reports whether a name is one of those that tools leave beside the files that people write.
func noContent(base string) bool {
	switch base {
	case ".git", ".hg", ".svn", "CVS":
		return true
	}
	return strings.HasSuffix(base, "~") || strings.HasPrefix(base, ".#") || strings.HasPrefix(base, "._cfg") ||
		strings.HasPrefix(base, ".") && (strings.HasSuffix(base, ".swp") || strings.HasSuffix(base, ".swo"))
}
