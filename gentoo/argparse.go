package gentoo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// usedOption is one option of a command line under its long name. Value is "" for a flag and "True" for an
// optional argument that was not given.
type usedOption struct{ name, value string }

// words returns the option as emerge reads it back.
func (u usedOption) word() string {
	o := emergeOptions[u.name]
	if !o.argument || o.optional() && u.value == "True" {
		return u.name
	}
	return u.name + "=" + u.value
}

// The letters of options with an optional argument. emerge looks for them in a cluster in this order; only
// a number may follow its letter directly (-j4), since "-kn" means "-k -n".
const (
	numberLetters = "Djl"
	yesNoLetters  = "aAbgGkKqvwW"
)

// spellOut gives every optional argument that is missing the value "True" and takes clusters apart where
// they hold such options: "-uD", "@world" becomes "-D", "True", "-u", "@world". It does what emerge does
// before it parses its options, oddities included ("-uj 4" leaves 4 as a package name).
func spellOut(args []string) []string {
	var out []string
	rest := slices.Clone(args)
	value := func(apart func(string) bool) string {
		if len(rest) > 0 && apart(rest[0]) {
			next := rest[0]
			rest = rest[1:]
			return next
		}
		return "True"
	}
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if o, ok := emergeOptions[arg]; ok && o.optional() {
			out = append(out, arg, value(o.apart))
			continue
		}
		letter := clusterLetter(arg)
		if letter == 0 {
			out = append(out, arg)
			continue
		}
		apart := emergeOptions[longOfShort[letter]].apart
		if letter == 'j' {
			apart = isInt // the long form takes y and n as well
		}
		short := "-" + string(rune(letter))
		switch {
		case len(arg) == 2:
			out = append(out, short, value(apart))
		case arg[1] == letter && strings.IndexByte(numberLetters, letter) >= 0 && apart(arg[2:]):
			out = append(out, short, arg[2:])
		case arg[1] == letter:
			out = append(out, short, "True")
			rest = slices.Insert(rest, 0, "-"+arg[2:])
		default:
			out = append(out, short, "True")
			rest = slices.Insert(rest, 0, "-"+strings.ReplaceAll(arg[1:], short[1:], ""))
		}
	}
	return out
}

// clusterLetter returns the first option with an optional argument in a word such as "-auvDN"; 0 if there
// is none.
func clusterLetter(arg string) byte {
	if !strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "--") {
		return 0
	}
	for _, letter := range []byte(numberLetters + yesNoLetters) {
		if strings.IndexByte(arg, letter) >= 0 {
			return letter
		}
	}
	return 0
}

// parseWords reads options and targets as Python's argparse does for emerge: options and targets in any
// order, unambiguous abbreviations of long options, clusters of short ones, "--" before targets only.
func parseWords(args []string) (used []usedOption, targets []string, err error) {
	words := spellOut(args)
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "--" {
			// emerge mangles what begins with a hyphen even here, each Python in its own way.
			if slices.ContainsFunc(words[i+1:], looksLikeOption) {
				return used, targets, errors.New("no package name begins with a hyphen")
			}
			return used, append(targets, words[i+1:]...), nil
		}
		name, value, hasValue, err := readOption(word)
		if err != nil {
			return used, targets, err
		}
		if name == "" {
			targets = append(targets, word)
			continue
		}
		for !emergeOptions[name].argument && hasValue { // a cluster of flags: -1u
			if strings.HasPrefix(word, "--") || value == "" {
				return used, targets, fmt.Errorf("emerge's option %s takes no argument", name)
			}
			used = append(used, usedOption{name, ""})
			next, ok := longOfShort[value[0]]
			if !ok {
				return used, targets, fmt.Errorf("emerge has no option -%c (in %q)", value[0], word)
			}
			name, value, hasValue = next, value[1:], len(value) > 1
		}
		if emergeOptions[name].argument && !hasValue {
			if i+1 == len(words) || looksLikeOption(words[i+1]) {
				return used, targets, fmt.Errorf("emerge's option %s needs an argument", name)
			}
			i++
			value = words[i]
		}
		if choices := emergeOptions[name].choices; choices != nil && !slices.Contains(choices, value) {
			return used, targets, fmt.Errorf("emerge's option %s does not take %q", name, value)
		}
		used = append(used, usedOption{name, value})
	}
	return used, targets, nil
}

// readOption finds which option a word is. An empty name means that the word is a target.
func readOption(word string) (name, value string, hasValue bool, err error) {
	if len(word) < 2 || word[0] != '-' {
		return "", "", false, nil
	}
	if !strings.HasPrefix(word, "--") {
		if long, ok := longOfShort[word[1]]; ok {
			return long, strings.TrimPrefix(word[2:], "="), len(word) > 2, nil
		}
	} else {
		name, value, hasValue = strings.Cut(word, "=")
		matches := longMatches(name)
		if len(matches) == 1 {
			return matches[0], value, hasValue, nil
		}
		if len(matches) > 1 {
			return "", "", false, fmt.Errorf("emerge's option %q could be any of %s", name,
				strings.Join(matches, ", "))
		}
	}
	if strings.Contains(word, " ") {
		return "", "", false, nil
	}
	return "", "", false, fmt.Errorf("emerge has no option %q", word)
}

// longMatches returns the options that name may stand for: itself, or all that it is the beginning of.
func longMatches(name string) []string {
	if _, ok := emergeOptions[name]; ok {
		if long, ok := optionAliases[name]; ok {
			name = long
		}
		return []string{name}
	}
	var matches []string
	for long := range emergeOptions {
		if strings.HasPrefix(long, name) {
			matches = append(matches, long)
		}
	}
	slices.Sort(matches)
	if len(matches) == 1 && optionAliases[matches[0]] != "" {
		matches[0] = optionAliases[matches[0]]
	}
	return matches
}

func looksLikeOption(word string) bool {
	return len(word) > 1 && word[0] == '-' && !strings.Contains(word, " ")
}
