package daemon

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCPUInfo(t *testing.T) {
	many := "flags : " + strings.Repeat("x", maxFeature+1)
	for i := range maxFeatures + 9 {
		many += " f" + strconv.Itoa(i)
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"x86": {"processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu sse2 avx avx2\nbugs\t\t: sysret_ss_attrs\nvmx flags\t: ept\n\n", []string{"avx", "avx2", "fpu", "sse2"}},
		// Cores of two kinds can do together what both can.
		"unlike cores": {"flags : fpu avx avx512f\n\nflags : fpu avx\n\nflags : fpu avx avx512f\n", []string{"avx", "fpu"}},
		"nothing else": {"flags : a\nflags : b\n", nil},
		"ARM":          {"processor\t: 0\nFeatures\t: fp asimd crc32\nCPU part\t: 0xd0c\n", []string{"asimd", "crc32", "fp"}},
		"RISC-V":       {"processor\t: 0\nisa\t\t: rv64imafdc\n", nil},
		"empty":        {"", nil},
	} {
		if diff := cmp.Diff(c.want, parseCPUInfo(c.text)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := parseCPUInfo(many); len(got) != maxFeatures {
		t.Errorf("%d features", len(got))
	}
}
