package client

import (
	"lantage/gentoo"
)

// withoutCredentials is what of a file's content leaves this machine.
func withoutCredentials(content []byte) []byte {
	return []byte(gentoo.WithoutCredentials(string(content)))
}
