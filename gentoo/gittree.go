package gentoo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Git names a directory by a hash of the names, modes and hashes of what is in it. So it is enough to compare these names: git
// need not list what is below.

// gitObject is what a tree of git's has under a name.
type gitObject struct{ mode, id string }

const modeTree = "40000"

// gitObjects asks one git about objects of a repository, one after the other.
type gitObjects struct {
	cmd   *exec.Cmd
	ask   io.WriteCloser
	pipe  io.Closer // of its answers
	out   *bufio.Reader
	trees map[string]map[string]gitObject // by hash
}

func openGit(ctx context.Context, dir string) (*gitObjects, error) {
	cmd, err := gitCommand(ctx, dir, "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	ask, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &gitObjects{cmd: cmd, ask: ask, pipe: out, out: bufio.NewReader(out), trees: map[string]map[string]gitObject{}}, cmd.Start()
}

func (g *gitObjects) close() {
	g.ask.Close()
	g.pipe.Close() // it may still be writing
	_ = g.cmd.Wait()
}

// maxGitObject is more than any tree or commit of a repository of ebuilds has.
const maxGitObject = 64 << 20

var errNoObject = errors.New("git has no such object")

// object asks for one by a name or hash.
func (g *gitObjects) object(name, kind string) (id string, data []byte, err error) {
	if _, err := io.WriteString(g.ask, name+"\n"); err != nil {
		return "", nil, err
	}
	header, err := g.out.ReadString('\n')
	if err != nil {
		return "", nil, err
	}
	var got string
	var size int64
	if _, err := fmt.Sscanf(header, "%s %s %d\n", &id, &got, &size); err != nil || got != kind || size < 0 || size > maxGitObject {
		return "", nil, errNoObject // what follows it is not read: nothing more is asked
	}
	data = make([]byte, size+1) // and a line's end
	_, err = io.ReadFull(g.out, data)
	return id, data[:size], err
}

// head returns the commit that HEAD is, and its tree.
func (g *gitObjects) head() (commit, tree string, err error) {
	commit, data, err := g.object("HEAD", "commit")
	line, _, _ := bytes.Cut(data, []byte("\n"))
	tree, ok := strings.CutPrefix(string(line), "tree ")
	if err == nil && (!ok || !commitRE.MatchString(commit) || !commitRE.MatchString(tree)) {
		err = errNoObject
	}
	return commit, tree, err
}

// find looks up a path below a tree. What is not there is the zero object.
func (g *gitObjects) find(tree, path string) (gitObject, error) {
	found := gitObject{modeTree, tree}
	for name := range strings.SplitSeq(path, "/") {
		if found.mode != modeTree {
			return gitObject{}, nil
		}
		entries, err := g.tree(found.id)
		if err != nil {
			return gitObject{}, err
		}
		found = entries[name]
	}
	return found, nil
}

// tree returns the entries of one by its hash.
func (g *gitObjects) tree(id string) (map[string]gitObject, error) {
	if entries, known := g.trees[id]; known {
		return entries, nil
	}
	_, data, err := g.object(id, "tree")
	if err != nil {
		return nil, err
	}
	entries := map[string]gitObject{}
	for len(data) > 0 {
		info, rest, ok := bytes.Cut(data, []byte{0})
		mode, name, named := strings.Cut(string(info), " ")
		if !ok || !named || len(rest) < len(id)/2 {
			return nil, errNoObject
		}
		entries[name] = gitObject{mode, hex.EncodeToString(rest[:len(id)/2])}
		data = rest[len(id)/2:]
	}
	g.trees[id] = entries
	return entries, nil
}

// objectOf is what git would have for a part of a repository with these files, of all that are sorted by name.
func objectOf(files []repoFile, part string, newHash func() hash.Hash) gitObject {
	byName := func(f repoFile, name string) int { return strings.Compare(f.name, name) }
	from, _ := slices.BinarySearchFunc(files, part+"/", byName)
	to, _ := slices.BinarySearchFunc(files, part+"0", byName) // what follows the slash
	i, itself := slices.BinarySearchFunc(files, part, byName)
	switch {
	case itself && from == to:
		return gitObject{files[i].mode, hex.EncodeToString(files[i].sum)}
	case itself: // a link with what it leads to, which git has not
		return gitObject{mode: modeOther}
	case from == to:
		return gitObject{}
	}
	return gitObject{modeTree, hex.EncodeToString(treeSum(files[from:to], len(part)+1, newHash()))}
}

// treeSum is git's hash of a directory. The files are all that are below it, by name, which is git's order; prefix is how much
// of their names is the directory's.
func treeSum(files []repoFile, prefix int, h hash.Hash) []byte {
	var tree bytes.Buffer
	for len(files) > 0 {
		name := files[0].name[prefix:]
		dir, _, below := strings.Cut(name, "/")
		n := 1
		if below {
			whole := files[0].name[:prefix+len(dir)+1]
			n, _ = slices.BinarySearchFunc(files, whole, func(f repoFile, s string) int {
				if strings.HasPrefix(f.name, s) {
					return -1
				}
				return 1
			})
			fmt.Fprintf(&tree, "%s %s\x00", modeTree, dir)
			tree.Write(treeSum(files[:n], len(whole), h))
		} else {
			fmt.Fprintf(&tree, "%s %s\x00", files[0].mode, name)
			tree.Write(files[0].sum)
		}
		files = files[n:]
	}
	h.Reset()
	fmt.Fprintf(h, "tree %d\x00", tree.Len())
	h.Write(tree.Bytes())
	return h.Sum(nil)
}

// hashFor is what git hashes with, where it has such names.
func hashFor(commit string) func() hash.Hash {
	if len(commit) == 2*sha256.Size {
		return sha256.New
	}
	return sha1.New
}
