package gentoo

import (
	"strings"
	"testing"
)

// explicitly stands for what compilers say.
func explicitly(u NativeUse) string {
	flags := map[NativeFlag]string{
		MarchNative: "-march=A -mb", MtuneNative: "-mtune=T", McpuNative: "-mcpu=C", RustNative: "-Ctarget-cpu=R -Ctarget-feature=+f",
	}[u.Flag]
	if u.Flag == MarchNative && !u.Tuned {
		flags += " -mtune=T"
	}
	return flags
}

func TestReplaceNative(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		`CFLAGS="-O2 -march=native"`:     `CFLAGS="-O2 -march=A -mb -mtune=T"`,
		`CFLAGS='-march=native -pipe'`:   `CFLAGS='-march=A -mb -mtune=T -pipe'`,
		"CFLAGS=-march=native\n":         "CFLAGS=\"-march=A -mb -mtune=T\"\n",
		"export CFLAGS+=-march=native #": "export CFLAGS+=\"-march=A -mb -mtune=T\" #",
		"A=\"-O2 \\\n\t-march=native \\\n\t-pipe\"\n":     "A=\"-O2 \\\n\t-march=A -mb -mtune=T \\\n\t-pipe\"\n",
		"A=\"-O2\n-march=native\n-pipe\"\n":               "A=\"-O2\n-march=A -mb -mtune=T\n-pipe\"\n",
		"append-flags -march=native -mcpu=native\n":       "append-flags -march=A -mb -mtune=T -mcpu=C\n",
		"[[ x ]] && f -march=native; g -mtune=native\n":   "[[ x ]] && f -march=A -mb; g -mtune=T\n", // one statement, and tuned
		"cat/pkg -march=native # -march=native\n":         "cat/pkg -march=A -mb -mtune=T # -march=native\n",
		"a=( -march=native )\nb=(-mcpu=native)\n":         "a=( -march=A -mb -mtune=T )\nb=(-mcpu=C)\n",
		"A=\"${B:--march=native}\" C=-DX=-march=native":   "A=\"${B:--march=A -mb -mtune=T}\" C=-DX=\"-march=A -mb -mtune=T\"",
		"A=\\\"-mcpu=native\\\"":                          "A=\\\"\"-mcpu=C\"\\\"",
		"A=\"x # -mcpu=native\" # \"\nB=\"-mcpu=native\"": "A=\"x # -mcpu=C\" # \"\nB=\"-mcpu=C\"",

		// Of several -mtune the last one would count, so ours may not come after the user's.
		`A="-mtune=native -march=native"`:                   `A="-mtune=T -march=A -mb"`,
		`A="-march=native -mtune=znver2"`:                   `A="-march=A -mb -mtune=znver2"`,
		"T=-mtune=x\nA=\"$T -march=native\"":                "T=-mtune=x\nA=\"$T -march=A -mb\"",
		"T=-mtune=x\nA=\"-march=native\"":                   "T=-mtune=x\nA=\"-march=A -mb -mtune=T\"",
		"# -mtune=x\nA=\"$T -march=native\"":                "# -mtune=x\nA=\"$T -march=A -mb -mtune=T\"",
		"A=\"-march=native\"\nB=\"-mtune=x -march=native\"": "A=\"-march=A -mb -mtune=T\"\nB=\"-mtune=x -march=A -mb\"",

		`RUSTFLAGS="-C target-cpu=native -g"`:                                              `RUSTFLAGS="-Ctarget-cpu=R -Ctarget-feature=+f -g"`,
		`RUSTFLAGS="-Ctarget-cpu=native"`:                                                  `RUSTFLAGS="-Ctarget-cpu=R -Ctarget-feature=+f"`,
		`RUSTFLAGS="--codegen=target-cpu=native"`:                                          `RUSTFLAGS="-Ctarget-cpu=R -Ctarget-feature=+f"`,
		"RUSTFLAGS=\"-g -C \\\n target-cpu=native\"":                                       "RUSTFLAGS=\"-g -Ctarget-cpu=R -Ctarget-feature=+f\"",
		"RUSTFLAGS=\"--codegen target-cpu=native\"\n":                                      "RUSTFLAGS=\"-Ctarget-cpu=R -Ctarget-feature=+f\"\n",
		"# CFLAGS=\"-march=native\"\n":                                                     "",
		"  # it's -march=native\nA=\"-O2\" # -mcpu=native":                                 "",
		`A="-march=native2 -march=native-x x-march=native -march=native.5 -xmarch=native"`: "",
		`A="-march=nativ" B="--march=native" C="-march= native" D="-march=nAtive"`:         "",
		`A="target-cpu=native --print=target-cpu=native xC target-cpu=native"`:             "",
	} {
		if want == "" {
			want = text
		}
		if got := ReplaceNative(text, FindNative(text), explicitly); got != want {
			t.Errorf("%q\nbecomes %q\nwant    %q", text, got, want)
		}
	}
	for value, want := range map[string]string{
		"-O2 -march=native":                  "-O2 -march=A -mb -mtune=T",
		"# -march=native":                    "# -march=A -mb -mtune=T",
		"-DX='a -march=native":               "-DX='a -march=A -mb -mtune=T",
		"-mtune=native -C target-cpu=native": "-mtune=T -Ctarget-cpu=R -Ctarget-feature=+f",
	} {
		if got := ReplaceNative(value, FindNativeIn(value), explicitly); got != want {
			t.Errorf("%q becomes %q, want %q", value, got, want)
		}
	}
}

func FuzzReplaceNative(f *testing.F) {
	for _, text := range []string{
		`CFLAGS="-O2 -march=native"`, "A=-march=native # -mcpu=native\n", "A='-C \\\n target-cpu=native'", "\\", "'\\\n#-mtune=native",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		uses := FindNative(text)
		same := ReplaceNative(text, uses, func(u NativeUse) string { return text[u.start:u.end] })
		if strings.ReplaceAll(same, `"`, "") != strings.ReplaceAll(text, `"`, "") {
			t.Errorf("%q becomes %q", text, same)
		}
		resolved := ReplaceNative(text, uses, explicitly)
		if left := FindNative(resolved); len(left) > 0 {
			t.Errorf("%q becomes %q, in which there is %v", text, resolved, left)
		}
		for _, u := range append(uses, FindNativeIn(text)...) {
			if !strings.HasSuffix(text[u.start:u.end], "=native") {
				t.Errorf("%q is said to be %v", text[u.start:u.end], u.Flag)
			}
		}
	})
}
