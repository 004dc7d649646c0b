package rootfs

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The store looks behind a sync whether its client was forgotten. A sync that begins meanwhile does not meet that look.
func TestTidyingIsNoSync(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	for _, forget := range []bool{false, true} {
		stop := make(chan struct{})
		var tidying sync.WaitGroup
		tidying.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.removeForgotten(laptop)
				}
			}
		})
		for range 100 {
			r, err := s.Begin(laptop, About{Name: "a laptop"})
			if err != nil {
				t.Errorf("the client is forgotten in between: %v: Begin: %v", forget, err)
				break
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if forget {
				if err := s.Forget(laptop); err != nil {
					t.Errorf("Forget: %v", err)
				}
			}
		}
		close(stop)
		tidying.Wait()
	}
}

// Another process that looks, as `lantage gc` does, takes no lock of a client who is not forgotten.
func TestTidyingOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	s := openTestStore(t, dir)
	other := openTestStore(t, dir)
	if err := begin(t, s, laptop).Close(); err != nil {
		t.Fatal(err)
	}
	s.background.Wait()
	stop := make(chan struct{})
	var tidying sync.WaitGroup
	tidying.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				other.removeForgotten(laptop)
			}
		}
	})
	for range 1000 {
		lock, err := s.lockClient(laptop)
		if err != nil {
			t.Error(err)
			break
		}
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	tidying.Wait()
}

// A process that another goroutine is starting has all files open that were open then.
func TestLockEndsBeforeItsCopies(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	lock, err := s.lock(unix.LOCK_EX, "")
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.FcntlInt(lock.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if _, err := s.lock(unix.LOCK_SH, "held"); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is locked: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := s.lock(unix.LOCK_EX, "a copy of the descriptor has it")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
