package discovery

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// txtVersion is the version of the TXT keys in the package comment.
const txtVersion = "1"

// Bounds of what is read from and put into a TXT record.
const (
	maxTXTStrings = 64
	maxTXTString  = 255 // RFC 1035 section 3.3: a character-string
	maxTXTBytes   = 1200
	maxLabel      = 63 // RFC 1035 section 2.3.4
	maxID         = 64
	minID         = 6
	maxCHOST      = 64
	maxVersion    = 32
	maxArch       = 16
	maxBases      = 32
	maxPrint      = 64
	maxCount      = math.MaxUint16
	maxMemory     = math.MaxInt32
	maxLoad       = 99999.99
)

// Info is what a builder says of itself.
type Info struct {
	ID       string  // stable, 6 to 64 of [a-z0-9]; the same as in the builder's hello
	Name     string  // host name or given name, 1 to 63 of [A-Za-z0-9._-]
	Proto    int     // newest protocol version it speaks, 0 to 65535
	CHOST    string  // as Portage says it; may be empty
	Cores    int     // CPUs that jobs may use, 0 to 65535
	Memory   int     // MiB, 0 to 2^31-1
	Jobs     int     // running now, 0 to 65535
	Waiting  int     // jobs that wait now, 0 to 65535
	JobLimit int     // how many run at once, 0 to 65535
	Load     float64 // 1-minute load average, 0 to 99999.99; two decimals travel
	Software string  // version of Lantage; may be empty

	Arch    string   // machine, as uname(2) says it; may be empty
	CPU     string   // level of the instruction set, such as x86-64-v3; empty where there are no levels
	Portage string   // version of Portage; may be empty
	Bases   []string // kinds of base that it offers, the preferred one first: host, dir

	// Fingerprint is the fingerprint of its key, to be shown: who checks a key asks over TCP. May be empty.
	Fingerprint string
}

// Validate tells whether i can be advertised; the error names the field, its value and what is allowed.
func (i Info) Validate() error {
	for _, f := range i.textFields() {
		if err := f.check(f.text()); err != nil {
			return err
		}
	}
	for _, f := range i.countFields() {
		if *f.count < 0 || *f.count > f.most {
			return fmt.Errorf("%s is %d; 0 to %d is possible", f.key, *f.count, f.most)
		}
	}
	if !(i.Load >= 0 && i.Load <= maxLoad) { // written so that NaN fails
		return fmt.Errorf("load is %v; 0 to %v is possible", i.Load, maxLoad)
	}
	return nil
}

// FormatTXT returns the strings of i's TXT record. It writes what it is given: [Info.Validate] judges.
func FormatTXT(i Info) []string {
	txt := []string{"v=" + txtVersion}
	for _, f := range i.textFields() {
		txt = append(txt, f.key+"="+f.text())
	}
	for _, f := range i.countFields() {
		txt = append(txt, f.key+"="+strconv.Itoa(*f.count))
	}
	return append(txt, "load="+strconv.FormatFloat(i.Load, 'f', 2, 64))
}

// ParseTXT reads the strings of a TXT record. What it returns without an error is valid (see
// [Info.Validate]) and safe to print. The strings may come from anyone; they may be in the presentation
// form of miekg/dns, because no value allowed here has a character that this form escapes.
func ParseTXT(txt []string) (Info, error) {
	values, err := splitTXT(txt)
	if err != nil {
		return Info{}, err
	}
	switch v, ok := values["v"]; {
	case !ok:
		return Info{}, fmt.Errorf("TXT record has no v; it is not a builder's")
	case v != txtVersion:
		return Info{}, fmt.Errorf("TXT record has format %.20q; this side reads format %s", v, txtVersion)
	}
	for _, key := range []string{"id", "name", "proto"} {
		if _, ok := values[key]; !ok {
			return Info{}, fmt.Errorf("TXT record has no %s", key)
		}
	}
	var i Info
	for _, f := range i.textFields() {
		if v, ok := values[f.key]; ok {
			if err := f.check(v); err != nil {
				return Info{}, err
			}
			f.set(v)
		}
	}
	for _, f := range i.countFields() {
		if v, ok := values[f.key]; ok {
			n, err := strconv.ParseUint(v, 10, 31)
			if err != nil || n > uint64(f.most) {
				return Info{}, fmt.Errorf("%s is %.40q; 0 to %d is possible", f.key, v, f.most)
			}
			*f.count = int(n)
		}
	}
	if v, ok := values["load"]; ok {
		i.Load, err = parseLoad(v)
	}
	return i, err
}

// splitTXT returns the values by key. The first of equal keys counts, and keys are without case (RFC 6763
// section 6.4).
func splitTXT(txt []string) (map[string]string, error) {
	if len(txt) > maxTXTStrings {
		return nil, fmt.Errorf("TXT record has %d strings; %d are possible", len(txt), maxTXTStrings)
	}
	total := 0
	values := make(map[string]string, len(txt))
	for _, s := range txt {
		if total += len(s) + 1; len(s) > maxTXTString || total > maxTXTBytes {
			return nil, fmt.Errorf("TXT record is longer than %d bytes or has a string longer than %d",
				maxTXTBytes, maxTXTString)
		}
		key, value, _ := strings.Cut(s, "=")
		key = strings.ToLower(key)
		if _, dup := values[key]; !dup {
			values[key] = value
		}
	}
	return values, nil
}

func parseLoad(s string) (float64, error) {
	load, err := strconv.ParseFloat(s, 64)
	if err != nil || len(s) > 16 || !madeOf(s, "0123456789.") || load > maxLoad {
		return 0, fmt.Errorf("load is %.40q; 0.00 to %v is possible", s, maxLoad)
	}
	return math.Round(load*100) / 100, nil
}

// Sets of characters. None of them holds a character that a terminal acts on, or one that DNS software
// would escape.
const (
	digits     = "0123456789"
	lower      = "abcdefghijklmnopqrstuvwxyz"
	idChars    = lower + digits
	labelChars = lower + digits + "-"
	nameChars  = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + digits + "._-"
	verChars   = nameChars + "+~"
)

type textField struct {
	key         string
	value       *string
	list        *[]string // in the place of value: travels with commas
	least, most int
	chars       string
}

func (f textField) text() string {
	if f.list != nil {
		return strings.Join(*f.list, ",")
	}
	return *f.value
}

func (f textField) set(v string) {
	switch {
	case f.list == nil:
		*f.value = v
	case v != "":
		*f.list = strings.Split(v, ",")
	}
}

func (f textField) check(v string) error {
	if len(v) < f.least || len(v) > f.most || !madeOf(v, f.chars) {
		return fmt.Errorf("%s is %.80q; %d to %d of the characters %s are possible",
			f.key, v, f.least, f.most, f.chars)
	}
	return nil
}

type countField struct {
	key   string
	count *int
	most  int
}

// textFields and countFields are the one list of keys, for both directions.
func (i *Info) textFields() []textField {
	return []textField{
		{"id", &i.ID, nil, minID, maxID, idChars},
		{"name", &i.Name, nil, 1, maxLabel, nameChars},
		{"chost", &i.CHOST, nil, 0, maxCHOST, nameChars},
		{"arch", &i.Arch, nil, 0, maxArch, nameChars},
		{"cpu", &i.CPU, nil, 0, maxArch, nameChars},
		{"ver", &i.Software, nil, 0, maxVersion, verChars},
		{"portage", &i.Portage, nil, 0, maxVersion, verChars},
		{"bases", nil, &i.Bases, 0, maxBases, nameChars + ","},
		{"fp", &i.Fingerprint, nil, 0, maxPrint, verChars + ":/="},
	}
}

func (i *Info) countFields() []countField {
	return []countField{
		{"proto", &i.Proto, maxCount},
		{"cores", &i.Cores, maxCount},
		{"mem", &i.Memory, maxMemory},
		{"jobs", &i.Jobs, maxCount},
		{"waiting", &i.Waiting, maxCount},
		{"maxjobs", &i.JobLimit, maxCount},
	}
}

func madeOf(s, chars string) bool {
	return strings.Trim(s, chars) == ""
}

// InstanceName returns <host>-<first 6 characters of id> for the builder's instance: [a-z0-9-], at most 63
// bytes, whatever it is given. Only the first label of host counts; other characters become "-".
func InstanceName(host, id string) string {
	const idLen = 6
	host, _, _ = strings.Cut(host, ".")
	host, id = toLabel(host), toLabel(id)
	id = strings.Trim(id[:min(len(id), idLen)], "-")
	host = strings.Trim(host[:min(len(host), maxLabel-idLen-1)], "-")
	if host == "" {
		host = "builder"
	}
	if id == "" {
		return host
	}
	return host + "-" + id
}

// toLabel makes s lower case and puts one "-" in the place of each run of characters that a label may not
// have.
func toLabel(s string) string {
	foreign := func(r rune) bool { return !strings.ContainsRune(idChars, r) }
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), foreign), "-")
}
