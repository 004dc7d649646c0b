package client

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lantage/discovery"
	"lantage/wire"
)

// explanation says why no builder was found: what was tried, and what usually stands in the way.
type explanation struct {
	where  *Where
	found  []sighting
	report discovery.Report
	err    error // of the sources
}

// short is for one who wants to emerge: a line or two.
func (x *explanation) short() string {
	reasons := x.reasons()
	if others := x.others(); len(others) > 0 { // the word is mistyped, and there is nothing amiss with the LAN
		list := []string{fmt.Sprintf("no builder is called %s; there are: %s", x.where.word(), strings.Join(others, ", "))}
		for _, f := range x.found {
			if f.how == byName && len(f.candidate.addrs) > 0 && f.quiet() { // it is a host, and no builder
				list = append(list, f.label+": "+reasonLine(f.err))
			}
		}
		return strings.Join(append(list, reasons...), "; ")
	}
	answered := slices.ContainsFunc(x.found, func(f sighting) bool {
		return f.builder != nil && !errors.Is(f.err, errOther)
	})
	line := "no builder found: " + whereLooked(x.report)
	switch word := x.where.word(); {
	case word != "" && !answered:
		var looked []string
		if !slices.ContainsFunc(x.found, func(f sighting) bool { return f.builder != nil }) {
			looked = append(looked, whereLooked(x.report))
		}
		looked = append(looked, reasons...)
		for _, f := range x.found {
			switch {
			case !f.quiet():
			case f.how == byName:
				looked = append(looked, reasonLine(f.err))
			case f.isCalled(word):
				looked = append(looked, f.label+": "+reasonLine(f.err))
			}
		}
		line = fmt.Sprintf("no builder found that is called %s: %s", word, strings.Join(looked, "; "))
	case x.where.fixed() && !answered:
		return "the builder cannot be reached: " + strings.Join(reasons, "; ")
	case len(reasons) > 0:
		return "no builder can be used: " + strings.Join(reasons, "; ")
	}
	if x.silent() {
		line += ".\nNo mDNS packet of another machine was seen: if `lantage serve` runs on one, a firewall may drop UDP port 5353 " +
			"(lantage list-builders has the commands that open it)"
	}
	return line
}

// others are the builders that answered and are not called as the user said, where none is called so.
func (x *explanation) others() []string {
	var list []string
	for _, f := range x.found {
		switch {
		case errors.Is(f.err, errOther):
			list = append(list, f.builder.String())
		case f.builder != nil, f.isCalled(x.where.word()):
			return nil
		}
	}
	slices.Sort(list)
	return list
}

// isCalled reports whether a candidate that is no builder that can be used is the one that the word means.
func (f *sighting) isCalled(word string) bool {
	if f.how == byName { // the word may be the name of a host, which need not be a builder
		return errors.Is(f.err, errAnswered)
	}
	_, err := fit(word, f.how, wire.Hello{ID: f.said.ID, Name: cmp.Or(f.said.Name, f.label)})
	return err == nil
}

// reasons are why each candidate that should have been a builder is none.
func (x *explanation) reasons() []string {
	var list []string
	for _, f := range x.found {
		if f.err == nil || f.quiet() || errors.Is(f.err, errOther) {
			continue
		}
		who := f.label
		if f.builder != nil {
			who = f.builder.String()
		}
		reason := reasonLine(f.err)
		if !strings.HasPrefix(reason, who) {
			reason = who + ": " + reason
		}
		list = append(list, reason)
	}
	if x.err != nil && !errors.Is(x.err, discovery.ErrNoPath) {
		list = append(list, reasonLine(x.err))
	}
	return list
}

// quiet reports whether nothing is amiss although the candidate is no builder: nobody answered where one may be.
func (f *sighting) quiet() bool { return f.builder == nil && f.guess && !errors.Is(f.err, errAnswered) }

// silent reports whether the LAN was asked and nothing at all was heard.
func (x *explanation) silent() bool {
	asked := slices.ContainsFunc(x.report.Paths, func(p discovery.Path) bool { return p.Queries > 0 })
	return asked && !x.report.Traffic()
}

// firewalls are the commands that open the ports, as the usual firewalls want them.
const firewalls = `On client and builder, UDP port 5353 must be open from the LAN; on the builder, TCP port 8473 too:
  ufw        ufw allow 5353/udp; ufw allow 8473/tcp
  firewalld  firewall-cmd --permanent --add-port=5353/udp --add-port=8473/tcp; firewall-cmd --reload
  nftables   nft insert rule inet filter input udp dport 5353 accept
             nft insert rule inet filter input tcp dport 8473 accept
             (with your own table and chain, and in /etc/nftables.conf to last)`

// full is for one who wants to know: all that was tried, and what to do.
func (x *explanation) full() string {
	first, _, _ := strings.Cut(x.short(), "\n")
	lines := []string{strings.TrimSuffix(first, ".") + "."}
	if len(x.others()) > 0 {
		return lines[0] + "\nSay one of these names, or an address: lantage --builder=NAME …"
	}
	if slices.ContainsFunc(x.found, func(f sighting) bool { return f.builder != nil || errors.Is(f.err, errAnswered) }) {
		return lines[0] // the way there is open
	}
	lines = append(lines, "Start `lantage serve` on a builder, or say where it is: LANTAGE_HOST=… lantage list-builders,",
		"or for good in "+ConfigFile+`: builders = ["host or address"]`)
	if !x.where.fixed() {
		lines = append(append(lines, x.tried()...), firewalls)
	}
	return strings.Join(lines, "\n")
}

// tried tells of each interface, the cache and the traffic.
func (x *explanation) tried() []string {
	var lines []string
	for _, p := range x.report.Paths {
		line := fmt.Sprintf("  %s %s: %s, %s from other machines, %s of builders", p.Interface, p.Family,
			count(p.Queries, "question"), count(p.Packets, "mDNS packet"), count(p.Answers, "answer"))
		if p.Err != "" {
			line += "; " + oneLine(p.Err, 200)
		}
		lines = append(lines, line)
	}
	for _, s := range x.report.Skipped {
		lines = append(lines, "  "+strings.TrimSpace(s.Interface+" "+string(s.Family))+" skipped: "+s.Reason)
	}
	if len(lines) > 0 {
		lines = append([]string{"Tried:"}, lines...)
	}
	for _, f := range x.found {
		if f.how == byCache && f.quiet() {
			lines = append(lines, "Known from before, and silent now: "+f.label+": "+reasonLine(f.err))
		}
	}
	switch {
	case x.silent():
		lines = append(lines, "No mDNS packet of any other machine was seen: if `lantage serve` runs on one, a firewall here, or a switch "+
			"or access point that keeps multicast back, is the likely reason.")
	case x.report.Foreign > 0:
		lines = append(lines, fmt.Sprintf("%s about other services came: multicast works here; is the daemon "+
			"running, and the builder's firewall open?", count(x.report.Foreign, "answer")))
	case x.report.Traffic() && x.answers() == 0:
		lines = append(lines, "Other machines ask by mDNS, and none answers: multicast may get here one way only; "+
			"is the daemon running, and its firewall open?")
	}
	return lines
}

// answers are how many packets told of builders.
func (x *explanation) answers() (n int) {
	for _, p := range x.report.Paths {
		n += p.Answers
	}
	return n
}

// reasonLine is an error as part of a line. It may quote a peer, so it is made printable.
func reasonLine(err error) string { return oneLine(strings.ReplaceAll(err.Error(), "\n", ", "), 500) }

// whereLooked names the interfaces that were asked on, or why there was none.
func whereLooked(report discovery.Report) string {
	var asked, failed []string
	for _, p := range report.Paths {
		switch {
		case p.Err != "":
			failed = append(failed, fmt.Sprintf("%s %s: %s", p.Interface, p.Family, p.Err))
		case !slices.Contains(asked, p.Interface):
			asked = append(asked, p.Interface)
		}
	}
	for _, s := range report.Skipped {
		if s.Family == "" && s.Interface != "lo" {
			failed = append(failed, s.Interface+" "+s.Reason)
		}
	}
	line := "no network interface could be asked"
	switch {
	case len(asked) > 0:
		line = "none answered on " + strings.Join(asked, ", ")
	case len(failed) == 0:
		line = "this machine has no network interface"
	}
	if len(failed) > 0 {
		line += " (" + strings.Join(failed, "; ") + ")"
	}
	return oneLine(line, 500)
}
