package gentoo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuiltSlots(t *testing.T) {
	const deps = `lab-libs/greet:0/2= >=dev-libs/icu-70.1-r1:0/76=[abi_x86_64(-)?,static-libs?]
		|| ( dev-lang/perl:0/5.40= ) !<dev-libs/old-2:0/1= !!dev-libs/older:0/1= dev-libs/any:= dev-libs/slot:3= app-misc/plain
		x11-libs/gtk+:3/0= media-libs/x264-0.0.20240314:0/164= dev-qt/qtbase-6.8*:6/6.8.1=`
	want := []SlotDep{
		{"lab-libs/greet", "0", "2"},
		{"dev-libs/icu", "0", "76"},
		{"dev-lang/perl", "0", "5.40"},
		{"x11-libs/gtk+", "3", "0"},
		{"media-libs/x264", "0", "164"},
		{"dev-qt/qtbase", "6", "6.8.1"},
	}
	if diff := cmp.Diff(want, BuiltSlots(deps)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
