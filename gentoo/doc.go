// Package gentoo knows Portage's names and files: package versions and atoms, the merge list that emerge
// prints, emerge's command line, the make.profile link, PKGDIR and its index, emerge.log and build logs. It
// reads and checks; it runs nothing, knows no network and imports no other package of Lantage.
//
// The forms were taken from Portage 3.0.82: PMS (the Package Manager Specification) chapter 3 for names,
// emerge(1), make.conf(5) and portage(5) for options and files, and output of a real emerge under testdata.
package gentoo
