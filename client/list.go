package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"lantage/discovery"
	"lantage/wire"
)

// ListBuilders is `lantage list-builders`: it shows each builder that was announced on the LAN, or the one
// that Host names.
type ListBuilders struct {
	Host, Port string        // as of Emerge
	Wait       time.Duration // how long to listen; 0: 1.2 s
	JSON       bool
	Version    string // of this program
	Stdout     io.Writer

	browse browseFunc
}

const listWait = 1200 * time.Millisecond

// listed is one builder of the list, as --json shows it.
type listed struct {
	Name     string  `json:"name"`
	Address  string  `json:"address"`
	CHOST    string  `json:"chost"`
	Cores    int     `json:"cores"`
	Load     float64 `json:"load"`
	Jobs     int     `json:"jobs"`
	Waiting  int     `json:"waiting"`
	JobLimit int     `json:"jobLimit"`
	Memory   int     `json:"memoryMiB"`
	Version  string  `json:"version"`
	Portage  string  `json:"portage,omitempty"`
	Error    string  `json:"error,omitempty"` // why it was announced and yet cannot be used
}

// Run shows the builders. Without any that answers the error has exit status ExitNoBuilder.
func (l *ListBuilders) Run(ctx context.Context) error {
	rows, why, err := l.find(ctx)
	if err != nil {
		return interrupted(err)
	}
	if l.JSON {
		if err := writeJSON(l.Stdout, rows); err != nil {
			return err
		}
	} else if len(rows) > 0 {
		fmt.Fprint(l.Stdout, table(rows))
	}
	if slices.ContainsFunc(rows, listed.usable) {
		return nil
	}
	return exitf(ExitNoBuilder, "%s.\nStart `lantage serve` on a builder, or name one: "+
		"LANTAGE_HOST=… lantage list-builders", why)
}

// find looks for builders. why explains, in a line, that none of them answers.
func (l *ListBuilders) find(ctx context.Context) (rows []listed, why string, err error) {
	d := &dialer{self: wire.Hello{Name: hostName(), Software: l.Version}}
	rows = []listed{}
	if l.Host != "" {
		b, err := d.dialHost(ctx, l.Host, l.Port)
		if err != nil {
			return rows, "no builder at " + reasonLine(err), ctx.Err()
		}
		b.conn.Close()
		return append(rows, rowOf(b)), "", nil
	}
	s := search{browse: l.browse, dialer: d, judge: func(*builder) error { return nil }, timeout: l.Wait}
	if s.browse == nil {
		s.browse = browseLAN
	}
	if s.timeout == 0 {
		s.timeout = listWait
	}
	found, report, err := s.run(ctx)
	for _, f := range found {
		if f.err != nil {
			rows = append(rows, announcedRow(f.announced, f.err))
			continue
		}
		f.conn.Close()
		rows = append(rows, rowOf(f.builder))
	}
	slices.SortFunc(rows, func(a, b listed) int {
		return strings.Compare(a.Name+" "+a.Address, b.Name+" "+b.Address)
	})
	if !slices.ContainsFunc(rows, listed.usable) {
		why = whyNone(found, report, err)
	}
	return rows, why, ctx.Err()
}

// usable reports whether the builder answered.
func (l listed) usable() bool { return l.Error == "" }

func rowOf(b *builder) listed {
	h := b.hello
	return listed{
		Name: h.Name, Address: b.addr, CHOST: h.CHOST, Cores: h.Cores, Load: h.Load, Jobs: h.Jobs,
		Waiting: h.Waiting, JobLimit: h.JobLimit, Memory: h.Memory, Version: h.Software, Portage: h.Portage,
	}
}

func announcedRow(a discovery.Builder, err error) listed {
	r := listed{
		Name: a.Name, CHOST: a.CHOST, Cores: a.Cores, Load: a.Load, Jobs: a.Jobs, JobLimit: a.JobLimit,
		Memory: a.Memory, Version: a.Software, Error: reasonLine(err),
	}
	if len(a.Addrs) > 0 {
		r.Address = shownAddr(a.Addrs[0])
	}
	return r
}

func writeJSON(w io.Writer, rows []listed) error {
	b, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// tableWidth is what the table fits in, unless an IPv6 address is longer than its column.
const tableWidth = 80

// table is the list for people. What does not fit is cut; --json has it in full.
func table(rows []listed) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tADDRESS\tCHOST\tCORES\tLOAD\tJOBS\tVERSION")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.1f\t%s\t%s\n", cut(r.Name, 12), r.Address, cut(r.CHOST, 19),
			r.Cores, r.Load, jobsOf(r), cut(r.Version, 7))
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	for i, r := range slices.Backward(rows) {
		if r.Error != "" {
			lines = slices.Insert(lines, i+2, cut("  announced, but does not answer: "+r.Error, tableWidth))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// jobsOf is how many jobs run of how many may, and how many wait.
func jobsOf(r listed) string {
	s := fmt.Sprintf("%d/%d", r.Jobs, r.JobLimit)
	if r.Waiting > 0 {
		s += fmt.Sprintf("+%d", r.Waiting)
	}
	return s
}
