package gentoo

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// cleanCommit returns the commit that a git repository is at, if the files of some of its parts are as the commit has them.
//
// The files are compared with the commit itself, by their contents. To ask git's status takes longer: it reads the index,
// which names all files of a repository, and compares each name with each part. It would also take the index's word where
// files are marked as unchanged.
func cleanCommit(ctx context.Context, dir string, parts []string) (commit string, ok bool) {
	g, err := openGit(ctx, dir)
	if err != nil {
		return "", false
	}
	defer g.close()
	commit, tree, err := g.head()
	if err != nil {
		return "", false
	}
	committed := make(chan []gitObject, 1)
	go func() {
		defer close(committed)
		var list []gitObject
		for _, part := range parts {
			o, err := g.find(tree, part)
			if err != nil {
				return
			}
			list = append(list, o)
		}
		committed <- list
	}()
	newHash := hashFor(commit)
	have, err := listParts(ctx, dir, parts, describing)
	if err == nil {
		err = sumFiles(ctx, dir, have, newHash, true)
	}
	want := <-committed
	if err != nil || len(want) != len(parts) {
		return "", false
	}
	var others []string
	for i, part := range parts {
		if objectOf(have, part, newHash) != want[i] {
			others = append(others, part)
		}
	}
	return commit, len(others) == 0 || g.sameListed(ctx, dir, commit, others, have)
}

// sameListed compares the files of some parts one by one: some may not count, or have modes that are written in another way.
func (g *gitObjects) sameListed(ctx context.Context, dir, commit string, parts []string, have []repoFile) bool {
	tree, err := git(ctx, dir, append([]string{"ls-tree", "-r", "-z", "--full-tree", commit, "--"}, parts...)...)
	return err == nil && sameFiles(tree, slices.DeleteFunc(slices.Clone(have), func(f repoFile) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return f.name == part || strings.HasPrefix(f.name, part+"/") })
	}))
}

// sameFiles compares what git's ls-tree -r -z prints with files.
func sameFiles(tree string, have []repoFile) bool {
	want := make(map[string]string, len(have)) // by name: mode and object
	for entry := range strings.SplitSeq(tree, "\x00") {
		info, name, ok := strings.Cut(entry, "\t")
		fields := strings.Fields(info)
		if !ok || name == describing {
			continue
		}
		if len(fields) != 3 || fields[1] != "blob" { // a submodule has no contents here
			return false
		}
		want[name] = fields[0] + fields[2]
	}
	return len(want) == len(have) && !slices.ContainsFunc(have, func(f repoFile) bool {
		return want[f.name] != f.mode+hex.EncodeToString(f.sum)
	})
}

// git asks git about the repository in dir. Nothing of a user's environment or settings counts. A repository's own settings
// can name programs to be run, so root asks as the repository's owner.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd, err := gitCommand(ctx, dir, args...)
	if err != nil {
		return "", err
	}
	out, err := cmd.Output()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return "", exec.ErrNotFound
	}
	return string(out), err
}

func gitCommand(ctx context.Context, dir string, args ...string) (*exec.Cmd, error) {
	info, err := os.Stat(filepath.Join(dir, ".git"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "git", append([]string{
		"-c", "safe.directory=*", "-c", "core.fsmonitor=false", "--no-optional-locks", "--literal-pathspecs", "--no-replace-objects",
	}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_NO_LAZY_FETCH=1",
		"GIT_TERMINAL_PROMPT=0",
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && owner.Uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	return cmd, nil
}
