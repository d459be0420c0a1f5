package index

import (
	"encoding/binary"
	"errors"
	"io"
	"runtime/debug"
	"slices"
)

// Residuals gives a document's residual rows, DocTokens x Codebook().RowBytes(). It is mapped memory:
// read-only, valid while the snapshot is open.
func (s *Segment) Residuals(ord uint32) (_ []byte, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	a, b := s.f.tokenRange(ord)
	rb := uint64(s.f.toc.rowBytes)
	return s.f.bytes(secResiduals, a*rb, (b-a)*rb)
}

// ReadResiduals is Residuals, but what it gives was read from the file into memory that starts where buf does, or, if buf
// is too small, into new memory; next is for the next call. (On file systems without reading, which tests have, it is
// mapped memory after all.) See OpenOptions.ReadResiduals.
func (s *Segment) ReadResiduals(buf []byte, ord uint32) (rows, next []byte, err error) {
	defer s.f.catch(debug.SetPanicOnFault(true), &err)
	a, b := s.f.tokenRange(ord)
	rb := uint64(s.f.toc.rowBytes)
	from, n := a*rb, (b-a)*rb
	file, ok := s.f.m.(io.ReaderAt)
	if !ok {
		rows, err = s.f.bytes(secResiduals, from, n)
		return rows, buf, err
	}
	sec := &s.f.secs[secResiduals]
	if from > sec.len || n > sec.len-from {
		_, err := s.f.bytes(secResiduals, from, n) // says so
		return nil, buf, err
	}
	// Blocks that were never looked at are read whole, for their checksums.
	from += sec.off
	lo, hi := from, from+n
	known := s.f.ver.known(lo, hi)
	if !known {
		lo, hi = lo/blockSize*blockSize, min((hi+blockSize-1)/blockSize*blockSize, uint64(len(s.f.ver.data)))
	}
	buf = slices.Grow(buf[:0], int(hi-lo))[:hi-lo]
	if _, err := file.ReadAt(buf, int64(lo)); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.Join(ErrFault, err) // somebody has cut the file short
		}
		return nil, buf, &CorruptError{File: s.f.name, Section: sectionName(secResiduals), Offset: int64(lo), Err: err}
	}
	if !known {
		if bad := s.f.ver.check(buf, lo); bad >= 0 {
			return nil, buf, s.f.mismatch(secResiduals, bad)
		}
	}
	return buf[from-lo : from-lo+n], buf, nil
}

// ResidualsKnown tells whether the file's blocks with a document's residuals were verified before, by anyone. If not, they
// were hardly mapped, either, which takes longer than reading them: ReadResiduals is quicker then.
func (s *Segment) ResidualsKnown(ord uint32) (known bool) {
	a, b := s.f.tokenRange(ord)
	rb, off := uint64(s.f.toc.rowBytes), s.f.secs[secResiduals].off
	to := off + b*rb
	return to > uint64(len(s.f.ver.data)) || s.f.ver.known(off+a*rb, to)
}

// known says whether all blocks of data[from:to] were verified before.
func (v *blockVerifier) known(from, to uint64) bool {
	if from >= to {
		return true
	}
	for b := from / blockSize; b <= (to-1)/blockSize; b++ {
		if v.done[b/64].Load()>>(b%64)&1 == 0 {
			return false
		}
	}
	return true
}

// check verifies blocks that were read from data's place at on, a multiple of blockSize, and returns the offset of the first
// bad one, or -1.
func (v *blockVerifier) check(blocks []byte, at uint64) (bad int64) {
	for b := at / blockSize; len(blocks) > 0; b++ {
		n := min(blockSize, len(blocks))
		if crc32c(blocks[:n]) != binary.LittleEndian.Uint32(v.table[4*b:]) {
			return int64(b * blockSize)
		}
		v.done[b/64].Or(1 << (b % 64))
		blocks = blocks[n:]
	}
	return -1
}
