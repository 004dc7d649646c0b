package gentoo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// An xpak binpkg is a compressed tar and, behind it, the segment of the metadata (xpak(5)); numbers have four
// bytes, the most significant first:
//
//	"XPAKPACK", length of the index, length of the data
//	index: for each value the length of its key, the key, where it is in the data, its length
//	data
//	"XPAKSTOP", length of all this, "STOP"
const (
	xpakHead  = "XPAKPACK"
	xpakEnd   = "XPAKSTOP"
	xpakTail  = 8 // the length and "STOP"
	xpakFixed = 8 + 4 + 4 + 8

	maxXpakIndex = 1 << 20
)

var errXpak = errors.New("its xpak segment is damaged")

// findXpak returns where the xpak segment begins, if r ends with one.
func findXpak(r io.ReaderAt, size int64) (start int64, ok bool, err error) {
	if size < xpakFixed+xpakTail {
		return 0, false, nil
	}
	var tail [8 + xpakTail]byte
	if _, err := r.ReadAt(tail[:], size-int64(len(tail))); err != nil && err != io.EOF {
		return 0, false, err
	}
	if string(tail[:8]) != xpakEnd || string(tail[12:]) != "STOP" {
		return 0, false, nil
	}
	n := int64(binary.BigEndian.Uint32(tail[8:]))
	if n < xpakFixed || n > size-xpakTail {
		return 0, false, errXpak
	}
	return size - xpakTail - n, true, nil
}

// xpak reads an xpak whose segment begins at start.
func (b *binpkgReader) xpak(r io.ReaderAt, start int64) error {
	if err := b.xpakSegment(r, start); err != nil {
		return err
	}
	if b.noImage {
		return nil
	}
	return b.tar(BinpkgImage, io.NewSectionReader(r, 0, start), "./", b.lim.image)
}

func (b *binpkgReader) xpakSegment(r io.ReaderAt, start int64) error {
	var head [16]byte
	if _, err := r.ReadAt(head[:], start); err != nil {
		return err
	}
	indexLen, dataLen := int64(binary.BigEndian.Uint32(head[8:])), int64(binary.BigEndian.Uint32(head[12:]))
	switch {
	case string(head[:8]) != xpakHead:
		return errXpak
	case indexLen > maxXpakIndex:
		return fmt.Errorf("its xpak index has more than %d bytes", maxXpakIndex)
	case dataLen > b.lim.metadata:
		return fmt.Errorf("its metadata have more than %d bytes", b.lim.metadata)
	}
	index := make([]byte, indexLen)
	if _, err := r.ReadAt(index, start+int64(len(head))); err != nil {
		return err
	}
	data := start + int64(len(head)) + indexLen
	left := dataLen // values may not share bytes: a small file could have any amount of them
	for len(index) > 0 {
		key, at, n, rest, err := xpakEntry(index)
		if err != nil {
			return err
		}
		if at+n > dataLen || n > left {
			return errXpak
		}
		index, left = rest, left-n
		f := BinpkgFile{Part: BinpkgMetadata, Name: key, Size: n, Reader: io.NewSectionReader(r, data+at, n)}
		if err := b.file(f); err != nil {
			return err
		}
	}
	return nil
}

// xpakEntry takes the first entry from an index.
func xpakEntry(index []byte) (key string, at, n int64, rest []byte, err error) {
	if len(index) < 4 {
		return "", 0, 0, nil, errXpak
	}
	keyLen := int64(binary.BigEndian.Uint32(index))
	if int64(len(index)) < 4+keyLen+8 {
		return "", 0, 0, nil, errXpak
	}
	key, index = string(index[4:4+keyLen]), index[4+keyLen:]
	at, n = int64(binary.BigEndian.Uint32(index)), int64(binary.BigEndian.Uint32(index[4:]))
	return key, at, n, index[8:], nil
}
