package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"lantage/discovery"
	"lantage/trust"
	"lantage/wire"
)

// Pair is `lantage pair` on a client: with the code that a builder shows it makes the two known to each other.
type Pair struct {
	Where
	Code    string // empty: it is asked for
	Version string // of this program
	Environ []string
	Stdin   io.Reader
	Stdout  io.Writer
}

// Run does it.
func (p *Pair) Run(ctx context.Context) error { return interrupted(p.run(ctx)) }

func (p *Pair) run(ctx context.Context) error {
	if p.Plain {
		return errors.New("--plain: without encryption there are no keys that could be paired")
	}
	if err := p.check(); err != nil {
		return err
	}
	if err := p.askCode(ctx); err != nil {
		return err
	}
	if _, err := trust.ParseCode(p.Code); err != nil {
		return fmt.Errorf("%w; lantage pair on the builder shows one", err)
	}
	keys, err := p.openKeyring(p.Environ)
	if err != nil {
		return err
	}
	b, err := p.find(ctx, &keys)
	if err != nil {
		return err
	}
	defer b.conn.Close()
	defer context.AfterFunc(ctx, func() { b.conn.Close() })()
	if err := p.exchange(b, keys.self); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("nothing is paired: %v: %w%s", b, err, adviceForCode(err))
	}
	if err := keys.book.Set(b.key, b.hello.Name, trust.Trusted); err != nil {
		return fmt.Errorf("%v took the code, but cannot be noted as known: %w", b, err)
	}
	fmt.Fprintf(p.Stdout, "Paired with %v: it is known from now on, by its key %v, and takes jobs of this machine.\n", b, b.key)
	if v, held := keys.judge(b); v == trust.Changed { // this was before it was paired
		fmt.Fprintf(p.Stdout, "A builder of that name with the key %v is known still. If that one is no more: lantage trust forget %[1]v\n", held.Key)
	}
	return nil
}

// adviceForCode is what to do after a wrong code. The builder does not tell how many tries are left.
func adviceForCode(err error) string {
	refused, ok := errors.AsType[*wire.Error](err)
	if !errors.Is(err, trust.ErrWrongCode) && !(ok && refused.Text == trust.ErrWrongCode.Error()) {
		return ""
	}
	return fmt.Sprintf("\nRead the code there again, and type: lantage pair CODE. %d wrong codes end it; then lantage pair there shows another one.",
		trust.PairTries)
}

// askCode asks for the code where none was given.
func (p *Pair) askCode(ctx context.Context) (err error) {
	if p.Code != "" {
		return nil
	}
	fmt.Fprint(p.Stdout, "The code that lantage pair shows on the builder: ")
	if p.Code, err = (&asker{in: p.Stdin, out: p.Stdout}).line(ctx); err != nil {
		fmt.Fprintln(p.Stdout)
		return errors.New("no code was typed; run lantage pair on the builder (where lantage serve runs), and then lantage pair CODE here")
	}
	return nil
}

// find finds the one builder that waits for a client.
func (p *Pair) find(ctx context.Context, keys *keyring) (*builder, error) {
	known := openCache(p.cacheFile(p.Environ), time.Now())
	var report discovery.Report
	s := &search{
		sources: p.sources(known, &report), timeout: searchTimeout,
		dialer: &dialer{
			self: wire.Hello{Name: hostName(), Software: p.Version}, identity: keys.self,
			wanted: func(b *builder) bool { return b.hello.Pairing },
		},
		settle: func(*sighting) time.Duration { return 2 * settleTime }, // two that wait are no good sign
	}
	s.judge = func(a *sighting) error {
		if err := p.wants(a); err != nil {
			return err
		}
		if !a.hello.Pairing {
			return errors.New("it does not wait for a machine to be paired; run lantage pair there first")
		}
		return nil
	}
	found, err := s.run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	suitable := slices.DeleteFunc(slices.Clone(found), func(f sighting) bool { return f.err != nil })
	switch len(suitable) {
	case 0:
		return nil, errors.New((&explanation{where: &p.Where, found: found, report: report, err: err}).short())
	case 1:
		return suitable[0].builder, nil
	}
	closeAll(suitable, nil)
	var lines []string
	for _, f := range suitable {
		lines = append(lines, fmt.Sprintf("  %v %v", f.builder, f.key))
	}
	return nil, fmt.Errorf("%d builders wait for a machine to be paired; name the right one by its address (--builder=ADDRESS):\n%s",
		len(suitable), strings.Join(lines, "\n"))
}

// exchange goes through the pairing, see trust.Pairing.
func (p *Pair) exchange(b *builder, self *trust.Identity) error {
	end, err := trust.NewPairing(b.channel, self, p.Code, false)
	if err != nil {
		return err
	}
	answer, err := askPair(b.conn, wire.Pair{Message: end.Start()})
	if err != nil {
		return err
	}
	if err := end.Take(answer.Message); err != nil {
		return err
	}
	proof, err := end.Proof()
	if err != nil {
		return err
	}
	if answer, err = askPair(b.conn, wire.Pair{Proof: proof}); err != nil {
		return err
	}
	return end.Check(answer.Proof)
}

func askPair(conn *wire.Conn, m wire.Pair) (answer wire.Pair, err error) {
	if err := conn.Send(wire.TypePair, m); err != nil {
		return answer, err
	}
	f, err := conn.Read()
	if err != nil {
		return answer, err
	}
	return answer, f.Decode(wire.TypePair, &answer)
}
