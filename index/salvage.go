package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/golbert/golbert/internal/vfs"
)

// openDamaged opens a segment file, if need be for salvaging. damage says what is wrong with the file as far as
// opening it tells, nil when it opens as any other; err is for files of which nothing can be had.
func openDamaged(fs vfs.FS, path, name string) (f *segFile, damage, err error) {
	f, damage = openSegFile(fs, path, name)
	if damage == nil {
		return f, nil, nil
	}
	if !errors.Is(damage, ErrCorrupt) {
		return nil, nil, damage
	}
	if f, err = openSegFileAs(fs, path, name, parseDamaged); err != nil {
		return nil, nil, damage // the first error says more
	}
	return f, damage, nil
}

// maxFooters bounds how many places that look like a footer are tried.
const maxFooters = 1000

// parseDamaged opens what can be read of a segment file that parseSegFile refuses: with the checksum table and
// the table of contents of the tail or of its copy, whichever are whole, and without a look at the sections. Its
// documents are to be read only after checkDoc. The file may be shorter or longer than it should be.
func parseDamaged(data []byte, name string) (*segFile, error) {
	last := errors.New("no footer")
	end := len(data)
	for range maxFooters {
		at := bytes.LastIndex(data[:end], []byte(segEndMagic))
		if at < 0 {
			break
		}
		end = at
		from := at + len(segEndMagic) - segFooterLen
		if from < 0 {
			break
		}
		foot, err := parseFooter(data[from : from+segFooterLen])
		if err != nil {
			last = err
			continue
		}
		if foot.copyOff > uint64(len(data)) {
			last = fmt.Errorf("%d bytes of %d are left", len(data), foot.fileLen)
			continue
		}
		table := wholePart(data, foot.tableLen, foot.tableCRC, foot.tableOff, foot.copyOff)
		contents := wholePart(data, foot.tocLen, foot.tocCRC, foot.tableOff+foot.tableLen, foot.copyOff+foot.tableLen)
		if table == nil || contents == nil {
			last = errors.New("tail and its copy are damaged")
			continue
		}
		f := &segFile{name: name, data: data, lax: true}
		if err := f.setTail(foot, table, contents); err != nil {
			last = err
			continue
		}
		// The same tail, put together from both.
		f.root = tailHash(foot.append(append(bytes.Clone(table), contents...)))
		return f, nil
	}
	return nil, &CorruptError{File: name, Offset: -1, Err: last}
}

// wholePart gives the first of several copies of a part of a file that has the right checksum.
func wholePart(data []byte, length uint64, sum uint32, at ...uint64) []byte {
	size := uint64(len(data))
	for _, off := range at {
		if off <= size && length <= size-off && crc32c(data[off:off+length]) == sum {
			return data[off : off+length : off+length]
		}
	}
	return nil
}

// checkDoc verifies the token offsets of one document, which parseSegFile does for all.
func (f *segFile) checkDoc(ord uint32) error {
	if !f.lax {
		return nil
	}
	from, to, err := f.span(secTokens, uint64(ord), f.toc.tokens)
	if err == nil && to-from > HardMaxDocTokens {
		err = f.corrupt(secTokens, 0, fmt.Sprintf("document %d: at most %d tokens", ord, HardMaxDocTokens), to-from)
	}
	return err
}

// unflip undoes the flip of one bit in a file that ends in the CRC32C of everything before it. whole says whether a
// file is the one that was written; it is asked about every file that the CRC allows, of which there is one at most in
// files of less than 2^31 bits.
func unflip(b []byte, whole func([]byte) bool) bool {
	n := len(b) - 4
	if n < 0 {
		return false
	}
	try := func(at int, bit uint) bool {
		b[at] ^= 1 << bit
		if whole(b) {
			return true
		}
		b[at] ^= 1 << bit
		return false
	}
	wrong := crc32c(b[:n]) ^ binary.LittleEndian.Uint32(b[n:])
	if bits.OnesCount32(wrong) == 1 { // in the CRC itself
		i := bits.TrailingZeros32(wrong)
		if try(n+i/8, uint(i%8)) {
			return true
		}
	}
	// The CRC is linear: a flip changes it by what depends on the place alone. v is that of each bit of a byte, from
	// the last byte on, with 8 more bits behind it each time.
	tab := crc32.MakeTable(crc32.Castagnoli)
	var v [8]uint32
	for bit := range v {
		v[bit] = tab[1<<bit]
	}
	for at := n - 1; at >= 0; at-- {
		for bit, x := range v {
			if x == wrong && try(at, uint(bit)) {
				return true
			}
			v[bit] = tab[byte(x)] ^ x>>8
		}
	}
	return false
}

// unflipped reads a file that the manifest names and that is damaged, and undoes the flip of one bit.
func unflipped(fs vfs.FS, path string, length int64, sum string) []byte {
	b, err := fs.ReadFile(path, length)
	if err != nil || int64(len(b)) != length || !unflip(b, func(b []byte) bool { return sha256hex(b) == sum }) {
		return nil
	}
	return b
}
