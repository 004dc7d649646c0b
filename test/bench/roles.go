package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"lantage/discovery"
	"lantage/trust"
	"lantage/wire"
)

// roles are what this program does on a host, by the first argument.
var roles = map[string]func(args []string) error{
	"send": send, "receive": receive, "pipe-out": pipeOut, "pipe-in": pipeIn, "discover": discover, "greet": greet,
	"make-empty": makeEmpty, "make-full": makeFull, "make-links": makeLinks, "make-vdb": makeVDB,
}

// port is for raw copies.
const port = "9999"

// accept takes one connection, and says before that it is ready for it.
func accept() (net.Conn, error) {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	fmt.Println("ready")
	return l.Accept()
}

// send is the raw copy's sender: it sends each file behind its size.
func send(files []string) error {
	conn, err := accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		fi, err := f.Stat()
		if err == nil {
			err = binary.Write(conn, binary.BigEndian, fi.Size())
		}
		if err == nil {
			_, err = io.Copy(conn, f)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// receive is the raw copy's receiver: HOST DIRECTORY. Like Lantage it syncs each file.
func receive(args []string) error {
	conn, err := net.Dial("tcp", net.JoinHostPort(args[0], port))
	if err != nil {
		return err
	}
	defer conn.Close()
	for n := 0; ; n++ {
		var size int64
		if err := binary.Read(conn, binary.BigEndian, &size); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(args[1], strconv.Itoa(n)))
		if err != nil {
			return err
		}
		if _, err := io.CopyN(f, conn, size); err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
}

// pipeOut runs a command with its standard output on the connection.
func pipeOut(args []string) error {
	conn, err := accept()
	if err != nil {
		return err
	}
	return withConn(conn, args, func(cmd *exec.Cmd, f *os.File) { cmd.Stdout = f })
}

// pipeIn runs a command with its standard input from the connection: HOST COMMAND….
func pipeIn(args []string) error {
	conn, err := net.Dial("tcp", net.JoinHostPort(args[0], port))
	if err != nil {
		return err
	}
	return withConn(conn, args[1:], func(cmd *exec.Cmd, f *os.File) { cmd.Stdin = f })
}

func withConn(conn net.Conn, args []string, set func(*exec.Cmd, *os.File)) error {
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	conn.Close()
	defer f.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	set(cmd, f)
	return cmd.Run()
}

// greet is a role: HOST N. It says hello on N connections, prints how many were answered, and holds them until a signal ends it.
func greet(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	self, err := trust.NewIdentity()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for range n {
		conn, err := net.Dial("tcp", net.JoinHostPort(args[0], strconv.Itoa(wire.DefaultPort)))
		if err != nil {
			return err
		}
		channel, err := trust.Client(ctx, conn, self)
		if err != nil {
			return err
		}
		c, _, err := wire.Handshake(channel, wire.Hello{Name: "bench"})
		if err != nil {
			return err
		}
		defer c.Close()
	}
	fmt.Println("greeted", n)
	<-ctx.Done()
	return nil
}

// discover looks for a builder N times, as a client does: announced, dialled, encrypted, and its hello read. It
// prints how many microseconds each took.
func discover(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	self, err := trust.NewIdentity()
	if err != nil {
		return err
	}
	for range n {
		took, err := discoverOnce(self)
		if err != nil {
			return err
		}
		fmt.Println(took.Microseconds())
	}
	return nil
}

func discoverOnce(self *trust.Identity) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	began := time.Now()
	answered := make(chan time.Duration, 1)
	_, err := discovery.Browse(ctx, discovery.BrowseOptions{}, func(b discovery.Builder) {
		if b.Gone || len(b.Addrs) == 0 {
			return
		}
		go func() {
			conn, err := net.Dial("tcp", b.Addrs[0].String())
			if err != nil {
				return
			}
			channel, err := trust.Client(ctx, conn, self)
			if err != nil {
				return
			}
			if c, _, err := wire.Handshake(channel, wire.Hello{Name: "bench"}); err == nil {
				select {
				case answered <- time.Since(began):
				default:
				}
				c.Close()
				cancel()
			}
		}()
	})
	select {
	case took := <-answered:
		return took, nil
	default:
		return 0, errors.Join(errors.New("no builder found within 5 s"), err)
	}
}
