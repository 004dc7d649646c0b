package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/pgzip"
)

// BenchmarkLevel sends one entry of 128 MiB through a TCP connection on the loopback, writer and reader in
// this process, and compares compression levels and block sizes with a plain copy through the same
// connection. It is where Level's settings come from. cpu-s/GB is the processor time of both ends together.
func BenchmarkLevel(b *testing.B) {
	kinds := []struct {
		name string
		data []byte
	}{
		{"incompressible", incompressible(16 << 20)},
		{"text", ownSource(b)},
	}
	for _, kind := range kinds {
		b.Run(kind.name+"/plain-tcp", func(b *testing.B) {
			measure(b, kind.data, func(w io.Writer, r io.Reader, size int64) error {
				_, err := io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, copyBytes))
				return err
			}, func(r io.Reader) (int64, error) {
				return io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, copyBytes))
			})
		})
		for _, level := range []int{pgzip.NoCompression, pgzip.HuffmanOnly, 1, 3, 6} {
			for _, shape := range [][2]int{
				{64 << 10, 2}, {128 << 10, 2}, {256 << 10, 2}, {256 << 10, 4}, {1 << 20, 2},
			} {
				b.Run(fmt.Sprintf("%s/level=%d,block=%dKx%d", kind.name, level, shape[0]>>10, shape[1]),
					func(b *testing.B) {
						measure(b, kind.data, func(w io.Writer, r io.Reader, size int64) error {
							gz, err := newGzip(w, level, shape[0], shape[1])
							if err != nil {
								return err
							}
							aw := &Writer{gz: gz, tw: tar.NewWriter(gz), buf: make([]byte, copyBytes)}
							if err := aw.AddReader("file", size, 0o644, time.Unix(0, 0), r); err != nil {
								return err
							}
							return aw.Close()
						}, readAll)
					})
			}
		}
	}
}

func readAll(r io.Reader) (int64, error) {
	ar := NewReader(r, Limits{})
	if _, err := ar.Next(); err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, ar, make([]byte, copyBytes))
	if err != nil {
		return n, err
	}
	return n, ar.Finish()
}

func measure(b *testing.B, data []byte, send func(io.Writer, io.Reader, int64) error,
	receive func(io.Reader) (int64, error),
) {
	const size = 128 << 20
	b.SetBytes(size)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	before, wire := cpuTime(b), int64(0)
	for b.Loop() {
		sent := make(chan error, 1)
		go func() {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				sent <- err
				return
			}
			err = send(conn, io.LimitReader(&repeat{data: data}, size), size)
			conn.Close()
			sent <- err
		}()
		conn, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		count := &countReader{r: conn}
		n, err := receive(count)
		conn.Close()
		if err := <-sent; err != nil {
			b.Fatal("send:", err)
		}
		if n != size || err != nil {
			b.Fatalf("received %d bytes of %d: %v", n, size, err)
		}
		wire = count.n
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N)/size*1e9, "cpu-s/GB")
	b.ReportMetric(float64(wire)/size*100, "%size")
}

func cpuTime(tb testing.TB) time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func incompressible(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

// ownSource is text: this package. It is longer than gzip's window of 32 KiB, so repeating it does not make
// it compress better.
func ownSource(tb testing.TB) []byte {
	files, err := filepath.Glob("*.go")
	if err != nil {
		tb.Fatal(err)
	}
	var text []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		text = append(text, data...)
	}
	return text
}

// repeat reads data over and over.
type repeat struct {
	data []byte
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
