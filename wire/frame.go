package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Type is the first byte of a frame. The numbers are part of the protocol: append, never renumber.
type Type byte

// Types of frames.
const (
	TypeHello    Type = 1
	TypeError    Type = 2
	TypePing     Type = 3
	TypeSubmit   Type = 4
	TypeAttach   Type = 5
	TypeCancel   Type = 6
	TypeAccepted Type = 7
	TypeEvent    Type = 8
	TypeDone     Type = 9
	TypeData     Type = 10
	TypeEnd      Type = 11
	TypeSync     Type = 12
	TypeCopy     Type = 13
	TypeList     Type = 14
	TypeWants    Type = 15
	TypeCommit   Type = 16
	TypeOffer    Type = 17
	TypeStored   Type = 18
	TypePair     Type = 19
)

const (
	headerSize = 5
	endSize    = 1 + 8 + 4
)

// Frame is one frame as it came: its body is valid until the next one is read.
type Frame struct {
	Type Type
	Body []byte
}

// maxBody is the ceiling of a frame's body by its type, or an error for a type that is not ours.
func maxBody(t Type) (uint32, error) {
	switch t {
	case TypeHello, TypeError, TypeSubmit, TypeAttach, TypeCancel, TypeAccepted, TypeEvent, TypeDone,
		TypeSync, TypeCopy, TypeList, TypeWants, TypeCommit, TypeOffer, TypeStored, TypePair:
		return MaxControl, nil
	case TypeData:
		return 1 + MaxData, nil
	case TypeEnd:
		return endSize, nil
	case TypePing:
		return 0, nil
	}
	return 0, fmt.Errorf("%w: frame of unknown type %d", ErrProtocol, t)
}

// readHeader reads and checks a frame's header; the length is compared in the type that it arrived in, before
// anything is allocated. A connection that ends before a header is io.EOF, one that ends inside it
// io.ErrUnexpectedEOF.
func readHeader(r io.Reader, buf *[headerSize]byte) (Type, uint32, error) {
	if _, err := io.ReadFull(r, buf[:]); err != nil {
		return 0, 0, err
	}
	t, n := Type(buf[0]), binary.BigEndian.Uint32(buf[1:])
	limit, err := maxBody(t)
	if err != nil {
		return 0, 0, err
	}
	if n > limit {
		return 0, 0, fmt.Errorf("%w: frame of type %d announces %d bytes, at most %d are allowed",
			ErrProtocol, t, n, limit)
	}
	if (t == TypeEnd && n != endSize) || (t == TypeData && n < 1) {
		return 0, 0, fmt.Errorf("%w: frame of type %d with %d bytes", ErrProtocol, t, n)
	}
	return t, n, nil
}

// putHeader writes a frame's header to the start of buf.
func putHeader(buf []byte, t Type, n int) {
	buf[0] = byte(t)
	binary.BigEndian.PutUint32(buf[1:headerSize], uint32(n))
}

// streamEnd is the body of an end frame.
func streamEnd(s Stream, count uint64, sum []byte) []byte {
	b := make([]byte, 0, endSize)
	b = append(b, byte(s))
	b = binary.BigEndian.AppendUint64(b, count)
	return append(b, sum...)
}
