// Package rootfs copies a client's root file system to a builder, so that jobs are built on it: what of it
// is copied ([Rules]), the list of its files ([Entry], [ListWriter], [ListReader]), how the client makes that
// list ([Scan]), and how the builder keeps copies ([Store]). It knows no network and no job.
//
// # The list
//
// A list is the whole of a root without the contents of its files: for each file, directory and symbolic link
// the path, owner, mode, time, extended attributes, and the SHA-256 of the content. Entries come in tree
// order: a directory before what is in it, names of one directory by their bytes. Two lists are therefore
// compared, and a change applied, by reading them side by side once, however long they are: see [Diff] and
// [Apply]. The digest of a list names the state of a root.
//
// A list is a sequence of bytes:
//
//	"LTLIST1\n"
//	records
//	0x00, the number of records (uvarint)
//
// and a record is
//
//	byte     type (1 directory, 2 file, 3 symbolic link, 4 gone) + flags: 0x10 sum, 0x20 stamp, 0x40 sparse
//	uvarint  how many bytes the path has in common with that of the record before
//	bytes    the rest of the path, preceded by its length (uvarint), as are all strings below
//	         (a record of the type gone ends here)
//	uvarint  mode (the 12 bits of chmod(2)), owner, group
//	varint   seconds of the modification time; uvarint nanoseconds
//	uvarint  size of a file; string: target of a symbolic link; nothing for a directory
//	32 bytes SHA-256 of the content, if flagged
//	uvarint  inode, varint: time of the last status change in nanoseconds, if flagged (only in a file that
//	         the client keeps)
//	uvarint  number of extended attributes; for each two strings, name and value, sorted by name
//
// Hard links are not listed as such: files that are equal in content and in all that a list says are one file
// in a copy. An overlay over the copy shows them as separate files, which is also how it shows hard links.
package rootfs
