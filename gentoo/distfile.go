package gentoo

// Distfile is a source file of a package, as its Manifest has it (GLEP 74).
type Distfile struct {
	Name            string
	Size            int64
	SHA512, BLAKE2B string // hex; empty where the Manifest has none
}
