package client

import (
	"debug/elf"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
)

// keyPrograms are files of a root that every build runs or loads; patterns of path.Match.
var keyPrograms = []string{
	"bin/bash", "usr/bin/python3", "lib64/libc.so.6", "usr/lib64/libc.so.6", "lib/libc.so.6", "usr/libexec/gcc/*/*/cc1", "usr/lib/gcc/*/*/cc1",
}

// levels are the features of the x86-64 psABI's levels, each without those of the one before, as linkers note them in
// programs.
var levels = [][]string{
	nil,
	{"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"},
	{"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"},
	{"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"},
}

// programNeeds are what the key programs of a root say that they need.
func programNeeds(root string) []cpuNeed {
	var list []cpuNeed
	for _, pattern := range keyPrograms {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, file := range found[:min(len(found), 4)] {
			if features := noted(file); len(features) > 0 {
				list = append(list, cpuNeed{features, "this machine's " + filepath.Base(file) + " is made of"})
			}
		}
	}
	return list
}

// noted are the features that an ELF file is noted to need.
func noted(file string) []string {
	f, err := elf.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	section := f.Section(".note.gnu.property")
	if f.Machine != elf.EM_X86_64 || section == nil || section.Size > 64<<10 {
		return nil
	}
	data, err := section.Data()
	if err != nil {
		return nil
	}
	return levelFeatures(isaNeeded(data, f.ByteOrder))
}

func levelFeatures(bits uint32) []string {
	var features []string
	for i := range levels {
		if bits>>i != 0 { // a level has those below
			features = append(features, levels[i]...)
		}
	}
	slices.SortFunc(features, strings.Compare)
	return features
}

// isaNeeded reads GNU_PROPERTY_X86_ISA_1_NEEDED from the notes of a file (x86-64 psABI, section 4.2, program property): one bit for each level.
func isaNeeded(notes []byte, order binary.ByteOrder) uint32 {
	const propertyType, isaNeeded = 5, 0xc0008002
	for len(notes) >= 16 {
		name, size, kind := order.Uint32(notes), order.Uint32(notes[4:]), order.Uint32(notes[8:])
		if name != 4 || int64(size) > int64(len(notes)-16) {
			return 0
		}
		desc := notes[16 : 16+size]
		for kind == propertyType && len(desc) >= 8 {
			what, n := order.Uint32(desc), order.Uint32(desc[4:])
			if int64(n) > int64(len(desc)-8) {
				return 0
			}
			if what == isaNeeded && n == 4 {
				return order.Uint32(desc[8:])
			}
			desc = desc[min(len(desc), 8+int(n+7)&^7):]
		}
		notes = notes[min(len(notes), 16+int(size+7)&^7):]
	}
	return 0
}
