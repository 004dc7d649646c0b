package discovery

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// largest has the longest value that each field may have.
func largest() Info {
	return Info{
		ID: strings.Repeat("f", maxID), Name: strings.Repeat("N", maxLabel), Proto: maxCount,
		CHOST: strings.Repeat("c", maxCHOST), Cores: maxCount, Memory: maxMemory, Jobs: maxCount,
		Waiting:  maxCount,
		JobLimit: maxCount, Load: maxLoad, Software: strings.Repeat("9", maxVersion),
		Arch: strings.Repeat("a", maxArch), CPU: strings.Repeat("c", maxArch), Portage: strings.Repeat("p", maxVersion),
		Bases:       []string{"host", strings.Repeat("d", maxBases-5)},
		Fingerprint: strings.Repeat("f", maxPrint),
	}
}

func TestTXTRoundTrip(t *testing.T) {
	for _, want := range []Info{testInfo("h1", id1), largest(), {ID: "012345", Name: "a"}} {
		if err := want.Validate(); err != nil {
			t.Fatal(err)
		}
		got, err := ParseTXT(FormatTXT(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

func TestFormatTXT(t *testing.T) {
	want := "v=1 id=aaaaaa1111 name=h1 chost=x86_64-pc-linux-gnu arch=x86_64 cpu=x86-64-v3 ver=0.1 " +
		"portage=3.0.77 " +
		"bases=host,dir fp= proto=1 cores=8 mem=32000 jobs=0 waiting=1 maxjobs=2 load=0.25"
	if got := strings.Join(FormatTXT(testInfo("h1", id1)), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestValidate(t *testing.T) {
	for want, spoil := range map[string]func(*Info){
		"id":      func(i *Info) { i.ID = "short" },
		"name":    func(i *Info) { i.Name = strings.Repeat("n", 64) },
		"chost":   func(i *Info) { i.CHOST = "a b" },
		"ver":     func(i *Info) { i.Software = "0.1\x1b[2J" },
		"proto":   func(i *Info) { i.Proto = -1 },
		"cores":   func(i *Info) { i.Cores = 65536 },
		"mem":     func(i *Info) { i.Memory = math.MaxInt32 + 1 },
		"jobs":    func(i *Info) { i.Jobs = 65536 },
		"maxjobs": func(i *Info) { i.JobLimit = 65536 },
		"arch":    func(i *Info) { i.Arch = "x86 64" },
		"cpu":     func(i *Info) { i.CPU = strings.Repeat("c", 17) },
		"portage": func(i *Info) { i.Portage = "3\n" },
		"bases":   func(i *Info) { i.Bases = []string{"host", "/var/base"} },
		"fp":      func(i *Info) { i.Fingerprint = strings.Repeat("f", 256) },
		"waiting": func(i *Info) { i.Waiting = -1 },
		"load":    func(i *Info) { i.Load = math.NaN() },
	} {
		i := testInfo("h1", id1)
		spoil(&i)
		err := i.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), want+" is ") {
			t.Errorf("%s: %v", want, err)
		}
		if got, err := ParseTXT(FormatTXT(i)); err == nil {
			t.Errorf("%s: parsed as %+v", want, got)
		}
		if _, err := newZone(func() Info { return i }, 8473); err == nil {
			t.Errorf("%s: can be advertised", want)
		}
	}
}

func TestParseTXT(t *testing.T) {
	good := []string{"v=1", "id=abcdef", "name=big", "proto=1"}
	for _, c := range []struct {
		what string
		txt  []string
		want string // in the error; empty: none
	}{
		{"good", good, ""},
		{"key with capitals", []string{"V=1", "ID=abcdef", "Name=big", "PROTO=1"}, ""},
		{"unknown key", append(good, "unknown=\x00\x1b", "", "flag", "=x"), ""},
		{"second of two equal keys", append(good, "id=../../x"), ""},
		{"nothing", nil, "no v"},
		{"newer format", []string{"v=2", "id=abcdef"}, "format \"2\""},
		{"no id", []string{"v=1", "name=big", "proto=1"}, "no id"},
		{"no name", []string{"v=1", "id=abcdef", "proto=1"}, "no name"},
		{"no proto", []string{"v=1", "id=abcdef", "name=big"}, "no proto"},
		{"escape sequence", []string{"v=1", "id=abcdef", "name=\x1b[31m", "proto=1"}, "name is"},
		{"sign", append(good, "cores=+1"), "cores is"},
		{"too large", append(good, "cores=65536"), "cores is"},
		{"beyond 64 bits", append(good, "mem=99999999999999999999"), "mem is"},
		{"hexadecimal", append(good, "load=0x10"), "load is"},
		{"not a number", append(good, "load=NaN"), "load is"},
		{"infinite", append(good, "load=Inf"), "load is"},
		{"long string", append(good, "x="+strings.Repeat("x", 254)), "longer than"},
		{"long record", append(good, slices.Repeat([]string{strings.Repeat("x", 200)}, 6)...), "longer than"},
		{"many strings", slices.Repeat([]string{"x"}, 65), "65 strings"},
	} {
		_, err := ParseTXT(c.txt)
		if c.want == "" && err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v; want %q in it", c.what, err, c.want)
		}
	}
}

func FuzzParseTXT(f *testing.F) {
	f.Add(strings.Join(FormatTXT(testInfo("h1", id1)), "\n"))
	f.Add(strings.Join(FormatTXT(largest()), "\n"))
	f.Add("v=1\nid=abcdef\nname=a\nproto=0\nload=.0049999")
	f.Fuzz(func(t *testing.T, txt string) {
		i, err := ParseTXT(strings.Split(txt, "\n"))
		if err != nil {
			return
		}
		if err := i.Validate(); err != nil {
			t.Error(err)
		}
		printable(t, i.ID, i.Name, i.CHOST, i.Software, i.Arch, i.CPU, i.Portage, i.Fingerprint,
			strings.Join(i.Bases, ","))
		again, err := ParseTXT(FormatTXT(i))
		if err != nil || !reflect.DeepEqual(again, i) {
			t.Errorf("%+v became %+v, %v", i, again, err)
		}
	})
}

func printable(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		for _, r := range s {
			if r > unicode.MaxASCII || !unicode.IsGraphic(r) {
				t.Errorf("%q is not safe to print", s)
			}
		}
	}
}

func TestInstanceName(t *testing.T) {
	for _, c := range []struct{ host, id, want string }{
		{"big", "3f9a2c77", "big-3f9a2c"},
		{"Big.example.org", "3F9A2C77", "big-3f9a2c"},
		{"my builder_1", "ab", "my-builder-1-ab"},
		{"büro", "3f9a2c77", "b-ro-3f9a2c"},
		{"", "3f9a2c77", "builder-3f9a2c"},
		{"--", "", "builder"},
		{strings.Repeat("x", 100), "3f9a2c77", strings.Repeat("x", 56) + "-3f9a2c"},
	} {
		got := InstanceName(c.host, c.id)
		if got != c.want {
			t.Errorf("InstanceName(%q, %q) = %q; want %q", c.host, c.id, got, c.want)
		}
		if _, ok := instanceOf(got + "." + serviceName); !ok {
			t.Errorf("%q is not taken for an instance", got)
		}
	}
}
