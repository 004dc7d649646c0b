package trust

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		code := NewCode()
		if len(code) != 7 || code[3] != '-' {
			t.Fatalf("code %q", code)
		}
		if digits, err := ParseCode(code); err != nil || digits != code[:3]+code[4:] {
			t.Fatalf("%q is read as %q, %v", code, digits, err)
		}
		seen[code] = true
	}
	if len(seen) < 190 {
		t.Errorf("%d different codes of 200", len(seen))
	}
	for typed, want := range map[string]string{
		"123-456": "123456", " 123 456\n": "123456", "123456": "123456", "1-2-3-4-5-6": "123456", "": "", "12345": "", "1234567": "", "12345x": "",
		"١٢٣٤٥٦": "", "１２３": "", strings.Repeat("1", 9999): "",
	} {
		got, err := ParseCode(typed)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q: %q, %v", typed, got, err)
		}
	}
}

// pairUp goes through a pairing. between may change what is on its way.
func pairUp(client, builder *Pairing, between func(step int, message []byte) []byte) (atBuilder, atClient error) {
	pass := func(step int, message []byte, err error) []byte {
		if err == nil && between != nil {
			return between(step, message)
		}
		return message
	}
	answer, err := builder.Answer(pass(1, client.Start(), nil))
	if err != nil {
		return err, nil
	}
	if err := client.Take(pass(2, answer, nil)); err != nil {
		return nil, err
	}
	proof, err := client.Proof()
	if err != nil {
		return nil, err
	}
	atBuilder = builder.Check(pass(3, proof, nil))
	proof, err = builder.Proof()
	if err != nil {
		return atBuilder, err
	}
	return atBuilder, client.Check(pass(4, proof, nil))
}

// pairing is both ends of one over a channel of its own.
func pairing(t testing.TB, clientCode, builderCode string) (client, builder *Pairing) {
	t.Helper()
	laptop, tower := someone(t), someone(t)
	c, b := channel(t, laptop, tower)
	return pairingOver(t, c, b, laptop, tower, clientCode, builderCode)
}

func pairingOver(t testing.TB, c, b *Conn, laptop, tower *Identity, clientCode, builderCode string) (client, builder *Pairing) {
	t.Helper()
	client, err := NewPairing(c, laptop, clientCode, false)
	if err == nil {
		builder, err = NewPairing(b, tower, builderCode, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return client, builder
}

func TestPairing(t *testing.T) {
	client, builder := pairing(t, "123 456", "123-456")
	if atBuilder, atClient := pairUp(client, builder, nil); atBuilder != nil || atClient != nil {
		t.Errorf("with the right code: %v, %v", atBuilder, atClient)
	}
	client, builder = pairing(t, "123456", "123457")
	if atBuilder, atClient := pairUp(client, builder, nil); !errors.Is(atBuilder, ErrWrongCode) || !errors.Is(atClient, ErrWrongCode) {
		t.Errorf("with a wrong code: %v, %v", atBuilder, atClient)
	}
	if _, err := NewPairing(someChannel(t), someone(t), "12345", true); err == nil {
		t.Error("12345 is a code")
	}
}

// someChannel is one end of some channel.
func someChannel(t *testing.T) *Conn {
	c, _ := channel(t, someone(t), someone(t))
	return c
}

// Somebody in the middle who passes everything on is found out although both ends have the code: the keys are others.
func TestPairingInTheMiddle(t *testing.T) {
	laptop, tower, mallory := someone(t), someone(t), someone(t)
	c, _ := channel(t, laptop, mallory)
	_, b := channel(t, mallory, tower)
	client, builder := pairingOver(t, c, b, laptop, tower, "123456", "123456")
	if atBuilder, atClient := pairUp(client, builder, nil); !errors.Is(atBuilder, ErrWrongCode) || !errors.Is(atClient, ErrWrongCode) {
		t.Errorf("%v, %v", atBuilder, atClient)
	}
	// Nor would the channel's binding, or the keys, be enough alone.
	binding := bytes.Repeat([]byte{1}, 32)
	for name, other := range map[string]func() (*Pairing, error){
		"the client's key":  func() (*Pairing, error) { return newPairing(roleBuilder, "123456", keyN(9), keyN(2), binding) },
		"the builder's key": func() (*Pairing, error) { return newPairing(roleBuilder, "123456", keyN(1), keyN(9), binding) },
		"the binding":       func() (*Pairing, error) { return newPairing(roleBuilder, "123456", keyN(1), keyN(2), binding[1:]) },
		"nothing":           func() (*Pairing, error) { return newPairing(roleBuilder, "123456", keyN(1), keyN(2), binding) },
	} {
		client, err := newPairing(roleClient, "123456", keyN(1), keyN(2), binding)
		must(t, err)
		builder, err := other()
		must(t, err)
		atBuilder, atClient := pairUp(client, builder, nil)
		if good := atBuilder == nil && atClient == nil; good != (name == "nothing") {
			t.Errorf("%s is another: %v, %v", name, atBuilder, atClient)
		}
	}
}

// What comes back, comes again or is changed on its way pairs nobody.
func TestPairingIsTamperedWith(t *testing.T) {
	var recorded [5][]byte
	client, builder := pairing(t, "123456", "123456")
	pairUp(client, builder, func(step int, m []byte) []byte { recorded[step] = m; return m })

	flip := func(m []byte) []byte {
		m = bytes.Clone(m)
		m[len(m)/2] ^= 1
		return m
	}
	for name, between := range map[string]func(step int, m []byte) []byte{
		"proof of before":    func(step int, m []byte) []byte { return map[bool][]byte{true: recorded[3], false: m}[step == 3] },
		"messages of before": func(step int, _ []byte) []byte { return recorded[step] },
		"changed proof":      func(step int, m []byte) []byte { return map[bool][]byte{true: flip(m), false: m}[step >= 3] },
		"no proof":           func(step int, m []byte) []byte { return map[bool][]byte{true: nil, false: m}[step >= 3] },
		"cut proof":          func(step int, m []byte) []byte { return map[bool][]byte{true: m[:len(m)-1], false: m}[step >= 3] },
		"longer proof":       func(step int, m []byte) []byte { return map[bool][]byte{true: append(m, 0), false: m}[step >= 3] },
		// The same numbers in other words are another conversation.
		"spaces": func(step int, m []byte) []byte { return map[bool][]byte{true: append(m, ' '), false: m}[step < 3] },
	} {
		client, builder := pairing(t, "123456", "123456")
		if atBuilder, atClient := pairUp(client, builder, between); atBuilder == nil || atClient == nil && name != "proof of before" {
			t.Errorf("%s: %v, %v", name, atBuilder, atClient)
		}
	}

	// A mirror has no code: neither as it is, nor in the other role's clothes.
	client, _ = pairing(t, "123456", "123456")
	start := client.Start()
	if err := client.Take(start); err == nil {
		t.Error("the client takes its own message")
	}
	client, _ = pairing(t, "123456", "123456")
	var mine map[string]any
	decode := json.NewDecoder(bytes.NewReader(client.Start()))
	decode.UseNumber()
	must(t, decode.Decode(&mine))
	mine["Role"], mine["Yᵤ"], mine["Yᵥ"] = 1, mine["Xᵤ"], mine["Xᵥ"]
	mirrored, err := json.Marshal(mine)
	must(t, err)
	if err := client.Take(mirrored); err == nil {
		proof, err := client.Proof()
		must(t, err)
		if err := client.Check(proof); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the client takes its own proof: %v", err)
		}
	}
	_, builder = pairing(t, "123456", "123456")
	answer, err := builder.Answer(recorded[1])
	must(t, err)
	if err := builder.Take(answer); err == nil {
		t.Error("the builder takes its own message")
	}
}

// hostileMessages are what a peer without manners sends in a role.
func hostileMessages(role int) map[string]string {
	x, y := "X", "Y"
	if role == roleBuilder {
		x, y = "Y", "X"
	}
	point := func(u, v string) string {
		return fmt.Sprintf(`{"Role":%d,"%[2]sᵤ":%[3]s,"%[2]sᵥ":%[4]s}`, role, x, u, v)
	}
	p := elliptic.P256().Params()
	g := []string{p.Gx.String(), p.Gy.String()}
	huge := new(big.Int).Add(p.Gx, p.P).String()
	return map[string]string{
		"nothing":         "",
		"null":            "null",
		"true":            "true",
		"list":            "[]",
		"text":            `"x"`,
		"empty":           "{}",
		"no JSON":         "\x00\xff",
		"only a role":     fmt.Sprintf(`{"Role":%d}`, role),
		"nulls":           point("null", "null"),
		"half":            fmt.Sprintf(`{"Role":%d,"%sᵤ":%s}`, role, x, g[0]),
		"other half":      fmt.Sprintf(`{"Role":%d,"%sᵥ":%s}`, role, x, g[1]),
		"infinity":        point("0", "0"),
		"off the curve":   point("1", "1"),
		"negative":        point(g[0], "-"+g[1]),
		"negatives":       point("-1", "-1"),
		"not reduced":     point(huge, g[1]),
		"fraction":        point("1.5", g[1]),
		"exponent":        point("1e9", g[1]),
		"exponents":       point("1e999999999", "1e999999999"),
		"digits":          point(strings.Repeat("9", 4000), g[1]),
		"many digits":     point(strings.Repeat("9", 1<<20), g[1]),
		"words":           point(`"12"`, `"13"`),
		"other role":      strings.Replace(point(g[0], g[1]), fmt.Sprint(role), fmt.Sprint(1-role), 1),
		"role 2":          strings.Replace(point(g[0], g[1]), fmt.Sprintf(`"Role":%d`, role), `"Role":2`, 1),
		"negative role":   strings.Replace(point(g[0], g[1]), fmt.Sprintf(`"Role":%d`, role), `"Role":-1`, 1),
		"other's numbers": strings.ReplaceAll(point(g[0], g[1]), x, y),
		"long":            point(g[0], g[1]) + strings.Repeat(" ", maxPairMessage),
		"deep":            strings.Repeat("[", 4000),
		"trailing":        point(g[0], g[1]) + point(g[0], g[1]),
	}
}

// What a peer sends may be wrong, and is then an error: it is never a panic, and never a key.
func TestHostileMessages(t *testing.T) {
	for name, message := range hostileMessages(roleClient) {
		_, builder := pairing(t, "123456", "123456")
		if answer, err := builder.Answer([]byte(message)); err == nil {
			t.Errorf("the builder answers %s with %s", name, answer)
		}
		if _, err := builder.Proof(); err == nil {
			t.Errorf("%s: there is a proof of the builder", name)
		}
		if err := builder.Check(nil); err == nil {
			t.Errorf("%s: the builder takes no proof for one", name)
		}
	}
	for name, message := range hostileMessages(roleBuilder) {
		client, _ := pairing(t, "123456", "123456")
		client.Start()
		if err := client.Take([]byte(message)); err == nil {
			t.Errorf("the client takes %s", name)
		}
		if _, err := client.Proof(); err == nil {
			t.Errorf("%s: there is a proof of the client", name)
		}
	}
}

// A point that is one, from somebody without the code, is a try and no more.
func TestGuessingPeer(t *testing.T) {
	p := elliptic.P256().Params()
	_, builder := pairing(t, "123456", "123456")
	if _, err := builder.Answer(fmt.Appendf(nil, `{"Role":0,"Xᵤ":%v,"Xᵥ":%v}`, p.Gx, p.Gy)); err != nil {
		t.Fatal(err)
	}
	for _, proof := range [][]byte{nil, {}, make([]byte, 32)} {
		if err := builder.Check(proof); !errors.Is(err, ErrWrongCode) {
			t.Errorf("%v", err)
		}
	}
}
