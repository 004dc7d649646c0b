package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// filesOfDir is how many files each directory of a made tree has.
const filesOfDir = 500

// makeEmpty is a role: DIRECTORY N. It makes N empty files, each with a time of its own, so that no two of
// them are the same file in a copy.
func makeEmpty(args []string) error {
	return makeTree(args, func(name string, i int) error {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		when := time.Unix(1_600_000_000+int64(i), 0)
		return errors.Join(f.Close(), os.Chtimes(name, when, when))
	})
}

// makeFull is a role: DIRECTORY N. It makes N different files of 1 to 40 KB that compress to about half.
func makeFull(args []string) error {
	noise := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	for i := range noise {
		if i/64%2 == 0 {
			noise[i] = "lantage "[i%8]
		}
	}
	return makeTree(args, func(name string, i int) error {
		size := 1000 + i*7919%39_000
		at := i * 104_729 % (len(noise) - size)
		return os.WriteFile(name, fmt.Appendf(noise[at:at+size:at+size], "%d\n", i), 0o644)
	})
}

// makeLinks is a role: DIRECTORY OTHER. It makes a tree of hard links, which takes a tenth of the time of files.
func makeLinks(args []string) error {
	dirs, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	return each(len(dirs), func(d int) error {
		from, to := filepath.Join(args[0], dirs[d].Name()), filepath.Join(args[1], dirs[d].Name())
		files, err := os.ReadDir(from)
		if err == nil {
			err = os.MkdirAll(to, 0o755)
		}
		for _, f := range files {
			if err == nil {
				err = os.Link(filepath.Join(from, f.Name()), filepath.Join(to, f.Name()))
			}
		}
		return err
	})
}

// makeTree makes files of which each directory has a part, on all cores.
func makeTree(args []string, file func(name string, i int) error) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return each((n+filesOfDir-1)/filesOfDir, func(d int) error {
		dir := filepath.Join(args[0], strconv.Itoa(d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for i := d * filesOfDir; i < min((d+1)*filesOfDir, n); i++ {
			if err := file(filepath.Join(dir, fmt.Sprintf("file-%d", i)), i); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeVDB is a role: DIRECTORY N. It makes entries of N installed packages, with as many files as real ones
// have.
func makeVDB(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return each(n, func(i int) error {
		pf := fmt.Sprintf("many%d-1", i)
		dir := filepath.Join(args[0], fmt.Sprintf("lab-many%d", i%100), pf)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		files := map[string]string{
			"CATEGORY": fmt.Sprintf("lab-many%d", i%100), "PF": pf, "SLOT": "0", "EAPI": "8", "KEYWORDS": "amd64 arm64",
			"repository": "lab", "COUNTER": strconv.Itoa(i + 1), "BUILD_TIME": "1700000000",
			"CONTENTS": fmt.Sprintf("dir /usr\ndir /usr/share\nobj /usr/share/many%d %032x 1700000000\n", i, i),
		}
		for _, name := range []string{
			"BUILD_ID", "CBUILD", "CFLAGS", "CHOST", "CXXFLAGS", "DEFINED_PHASES", "DESCRIPTION", "FEATURES",
			"HOMEPAGE", "INHERITED", "IUSE_EFFECTIVE", "LDFLAGS", "LICENSE", "SIZE", "binpkgmd5", "environment",
		} {
			files[name] = fmt.Sprintln(name, "of", pf)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// each calls do for 0 to n-1, on all cores.
func each(n int, do func(i int) error) error {
	work := make(chan int)
	errs := make([]error, runtime.NumCPU())
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := range work {
				if errs[w] == nil {
					errs[w] = do(i)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	return errors.Join(errs...)
}
