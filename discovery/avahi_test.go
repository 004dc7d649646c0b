package discovery

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// busConfig is for a system bus of the host's own, whoever runs the tests.
const busConfig = `<busconfig>
<type>system</type>
<listen>unix:path=/run/dbus/system_bus_socket</listen>
<auth>EXTERNAL</auth>
<policy context="default">
<allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_destination="*"/><allow receive_sender="*"/><allow eavesdrop="true"/>
</policy>
</busconfig>
`

// avahi starts Debian's Avahi on the host, with a bus of its own below the host's own /run, and waits until
// it serves. The stream is its log.
func (h *host) avahi() *stream {
	h.t.Helper()
	dir := h.t.TempDir()
	bus, conf := filepath.Join(dir, "bus.conf"), filepath.Join(dir, "avahi.conf")
	for file, text := range map[string]string{
		bus:  busConfig,
		conf: "[server]\nhost-name=" + h.name + "\nuse-ipv4=yes\nuse-ipv6=yes\n[rlimits]\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	h.do(order{Op: "run", Args: []string{"mkdir", "-p", "/run/dbus"}})
	h.stream("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+bus, "--print-address=1").
		until(patience, "unix:")
	log := h.stream("avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "--debug", "-f", conf)
	log.until(patience, "Server startup complete")
	return log
}

// Case 11: Avahi on the machines of a builder and of a client, started before and after the builder. It lists
// our builders, ours lists the one that Avahi publishes, and neither troubles the other.
func TestAvahi(t *testing.T) {
	for _, order := range []string{"Avahi first", "builder first"} {
		t.Run(order, func(t *testing.T) {
			l := newLab(t)
			h1, h2 := l.lan(families...)
			h3 := l.host("h3")
			l.join(h3, "eth0", "lan", "10.77.0.3/24", "fe80::3/64", "fd77::3/64")
			var log *stream
			if order == "Avahi first" {
				log = h1.avahi()
			}
			stop1 := h1.advertise(id1)
			h1.browse().untilSeen(patience, id1)
			if order != "Avahi first" {
				log = h1.avahi()
			}
			h3.advertise(id2)
			log2 := h2.avahi()
			begin := time.Now()
			lists := []*stream{h1.stream("avahi-browse", "-rp", service), h2.stream("avahi-browse", "-rp", service)}
			for _, list := range lists {
				for _, f := range families {
					for h, id := range map[*host]string{h1: id1, h3: id2} {
						list.until(patience, "=;eth0;"+string(f)+";"+InstanceName(h.name, id)+";", "id="+id)
					}
				}
			}
			measured(t, "11: "+order+": avahi-browse", "both builders, both families, both machines after %v",
				ms(time.Since(begin)))

			published := testInfo("h2", "cccccc3333")
			h2.stream(append([]string{"avahi-publish", "-s", InstanceName("h2", published.ID), service, "8473"},
				FormatTXT(published)...)...).until(patience, "Established")
			for _, h := range []*host{h1, h2} {
				b := h.browse()
				took := b.untilSeen(patience, id1, id2, published.ID)
				measured(t, "11: "+order+": Avahi publishes, "+h.name, "ours and Avahi's after %v", ms(took))
			}

			begin = time.Now()
			stop1()
			for _, list := range lists {
				list.until(patience, "-;eth0;IPv4;"+InstanceName("h1", id1)+";")
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("removed after %v; want at most 2s", took)
			}
			measured(t, "11: "+order+": builder stops", "off the lists after %v; bound 2s", ms(time.Since(begin)))
			for _, said := range []string{log.upToNow(), log2.upToNow()} {
				if strings.Contains(strings.ToLower(said), "conflict") {
					t.Error(fmt.Sprint("Avahi has a conflict:\n", said))
				}
			}
		})
	}
}
