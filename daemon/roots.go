package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"lantage/build"
	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/wire"
)

// rootFor returns the copy that a job of the base client is built on. It is held until the job lets go of it.
func (ss *session) rootFor(m wire.Job) (*build.Root, *rootfs.Generation, error) {
	if ss.key.IsZero() {
		return nil, nil, wire.Errorf(wire.CodeBadRequest, "the base %s needs to know whose root it is", m.Base)
	}
	client := ss.key.ID()
	gen, err := ss.server.Roots.Current(client)
	if errors.Is(err, rootfs.ErrNoCopy) || err == nil && gen.Digest != m.Root {
		if err == nil {
			gen.Release()
		}
		return nil, nil, wire.Errorf(wire.CodeDeclined, "its copy of this machine's root is not the one that the job is for; "+
			"run the same command again, which brings it up to date")
	}
	if err != nil {
		return nil, nil, err
	}
	files := func(visit func(build.RootFile) error) error {
		list, closer, err := gen.List()
		if err != nil {
			return err
		}
		defer closer.Close()
		return rootfs.Each(list, func(e *rootfs.Entry) error {
			return visit(build.RootFile{Path: e.Path, Sum: e.Sum, Target: e.Target})
		})
	}
	return &build.Root{Client: client, Dir: gen.Dir, Files: files, Note: gen.Marker}, gen, nil
}

// forgetClient removes a client's copies and what was built on them.
func (s *Server) forgetClient(client string) error {
	s.mu.Lock()
	for _, j := range s.jobs {
		if j.endedAt.IsZero() && j.spec.Root != nil && j.spec.Root.Client == client {
			s.mu.Unlock()
			return wire.Errorf(wire.CodeBusy, "a job of this machine is not over yet; cancel it, or wait for its end")
		}
	}
	s.mu.Unlock()
	if err := s.Roots.Forget(client); err != nil && !errors.Is(err, rootfs.ErrNoCopy) {
		return err
	}
	return build.ForgetClient(s.StateDir, client)
}

// searchBinpkgs offers a sync the files of the binpkgs that were built for this client here and that it has merged since:
// most of what is new on the client is in them.
func (s *Server) searchBinpkgs(ctx context.Context, client string, r *rootfs.Receiver) error {
	dir := filepath.Join(s.StateDir, build.PkgDirs, client)
	keys, err := os.ReadDir(dir)
	if err != nil || len(keys) == 0 || r.Missing().Count == 0 {
		return nil // nothing was built yet
	}
	var merged []gentoo.CPV
	err = r.Sent(func(e *rootfs.Entry) error {
		rest, ok := strings.CutPrefix(e.Path, "var/db/pkg/")
		if ok && e.Type == rootfs.TypeDir && strings.Count(rest, "/") == 1 {
			if cpv, err := gentoo.ParseCPV(rest); err == nil {
				merged = append(merged, cpv)
			}
		}
		return nil
	})
	for _, key := range keys {
		for _, cpv := range merged {
			err = errors.Join(err, ctx.Err(), offerBinpkgs(filepath.Join(dir, key.Name()), cpv, r))
		}
	}
	return err
}

// offerBinpkgs offers the files of all binpkgs of a package in one PKGDIR.
func offerBinpkgs(pkgDir string, cpv gentoo.CPV, r *rootfs.Receiver) error {
	var all error
	for _, name := range build.Instances(pkgDir, cpv) {
		f, err := build.Result{Dir: pkgDir, Path: name}.Open()
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		var fi os.FileInfo
		if fi, err = f.Stat(); err == nil {
			err = gentoo.ReadBinpkg(f, fi.Size(), func(file gentoo.BinpkgFile) error {
				_, err := r.Offer(file.Size, file.Reader)
				return err
			})
		}
		f.Close()
		if err != nil && !errors.Is(err, gentoo.ErrCompression) {
			all = errors.Join(all, err)
		}
	}
	return all
}
