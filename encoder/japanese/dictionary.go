package japanese

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Dictionary is a compiled MeCab dictionary. It is immutable and safe for concurrent use.
type Dictionary struct {
	system lexicon
	// unknown holds the entries for words that the dictionary lacks, by category of characters.
	unknown [][]entry
	// costs of neighbours: that of l before r is costs[l.right + lefts*r.left].
	costs []int16
	lefts int
	chars []charInfo // by code point of the basic plane
	group int        // the longest run of characters, in characters, that is one unknown word
	pool  sync.Pool
}

// entry is a word as the lattice sees it: the contexts that decide its connection costs, and its own cost.
type entry struct {
	left, right uint16
	cost        int16
}

// lexicon finds the entries of words in a double array of Darts.
type lexicon struct {
	units   []unit
	entries []entry
}

// unit is a state of the double array. The child by byte c of a state with base b is unit b+c+1, if its check is b;
// a word ends at a state when unit b has check b and a negative base, which tells the value.
type unit struct {
	base  int32
	check uint32
}

// charInfo is what char.bin says of a character: 18 bits of categories that it belongs to, 8 bits for the category
// of unknown words that start with it, 4 bits for their lengths, whether runs of its kind are words, and whether there
// are unknown words even where the dictionary has some.
type charInfo uint32

const (
	kindMask     charInfo = 1<<18 - 1
	categoryBits          = 18
	lengthBits            = 26
	groupBit     charInfo = 1 << 30
	invokeBit    charInfo = 1 << 31
	maxCategory           = 18
	nameSize              = 32
	planeSize             = 0xffff // char.bin leaves out U+FFFF
	defaultGroup          = 24     // MeCab's max-grouping-size
	headerSize            = 72
	dictVersion           = 102
	dictMagic             = 0xef718f77
	maxFile               = 4 << 30
)

// Open reads the compiled dictionary in dir. Errors name the directory and the file and wrap ErrNotFound, ErrCorrupt
// or ErrUnsupported.
func Open(dir string) (*Dictionary, error) {
	d, err := OpenFS(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return d, nil
}

// OpenFS is Open for the files of fsys.
func OpenFS(fsys fs.FS) (*Dictionary, error) {
	d := new(Dictionary)
	var unknown lexicon
	var names []string
	var rights int
	var err error
	if d.costs, d.lefts, rights, err = readMatrix(fsys, "matrix.bin"); err != nil {
		return nil, err
	}
	if d.system, err = readLexicon(fsys, "sys.dic", d.lefts, rights); err != nil {
		return nil, err
	}
	path := "unk.dic"
	if unknown, err = readLexicon(fsys, path, d.lefts, rights); err != nil {
		return nil, err
	}
	if names, d.chars, err = readChars(fsys, "char.bin"); err != nil {
		return nil, err
	}
	for _, name := range names {
		e := unknown.exact(name)
		if len(e) == 0 {
			return nil, fmt.Errorf("%w: %s has no entry for the category %q of char.bin", ErrCorrupt, path, name)
		}
		d.unknown = append(d.unknown, e)
	}
	if d.group, err = readGroup(fsys, "dicrc"); err != nil {
		return nil, err
	}
	return d, nil
}

// open opens a file of the dictionary and tells its size.
func open(fsys fs.FS, path string) (fs.File, int64, error) {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxFile) {
		err = fmt.Errorf("%w: %s is not a file of at most %d bytes", ErrCorrupt, path, int64(maxFile))
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// records reads n records of a size and calls each for every few of them, the first of which is the i-th. What is
// missing is an error: the caller has compared n with the size of the file.
func records(r io.Reader, path string, n, size int, each func(i int, b []byte)) error {
	buf := make([]byte, 1<<16/size*size)
	for i := 0; i < n; {
		b := buf[:min(len(buf), (n-i)*size)]
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
		}
		each(i, b)
		i += len(b) / size
	}
	return nil
}

// readMatrix reads matrix.bin: the numbers of right and of left contexts, then a cost for each pair.
func readMatrix(fsys fs.FS, path string) (costs []int16, lefts, rights int, err error) {
	f, size, err := open(fsys, path)
	if err != nil {
		return nil, 0, 0, err
	}
	defer f.Close()
	var head [4]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return nil, 0, 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	lefts, rights = int(binary.LittleEndian.Uint16(head[:])), int(binary.LittleEndian.Uint16(head[2:]))
	if lefts == 0 || rights == 0 || size != 4+2*int64(lefts)*int64(rights) {
		return nil, 0, 0, fmt.Errorf("%w: %s of %d bytes for %d x %d costs", ErrCorrupt, path, size, lefts, rights)
	}
	costs = make([]int16, lefts*rights)
	err = records(f, path, len(costs), 2, func(i int, b []byte) {
		for ; len(b) >= 2; i, b = i+1, b[2:] {
			costs[i] = int16(binary.LittleEndian.Uint16(b))
		}
	})
	return costs, lefts, rights, err
}

// readLexicon reads sys.dic or unk.dic: a header, the double array, the entries, and texts that are not needed here.
func readLexicon(fsys fs.FS, path string, lefts, rights int) (lexicon, error) {
	var l lexicon
	f, size, err := open(fsys, path)
	if err != nil {
		return l, err
	}
	defer f.Close()
	var head [headerSize]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return l, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	field := func(i int) int64 { return int64(binary.LittleEndian.Uint32(head[4*i:])) }
	// Fields: magic, version, type, words, left and right contexts, bytes of the double array, of the entries and
	// of the texts, padding.
	if field(0)^dictMagic != size&(1<<32-1) {
		return l, fmt.Errorf("%w: %s does not start like a MeCab dictionary of %d bytes", ErrCorrupt, path, size)
	}
	if field(1) != dictVersion {
		return l, fmt.Errorf("%w: %s has version %d, want %d", ErrUnsupported, path, field(1), dictVersion)
	}
	charset, _, _ := strings.Cut(string(head[40:]), "\x00")
	if c := strings.ToLower(strings.ReplaceAll(charset, "-", "")); c != "utf8" {
		return l, fmt.Errorf("%w: %s is in the encoding %q, want UTF-8", ErrUnsupported, path, charset)
	}
	units, entries := field(6), field(7)
	if units%8 != 0 || entries%16 != 0 || headerSize+units+entries+field(8) != size || units == 0 {
		return l, fmt.Errorf("%w: %s of %d bytes has sections of %d, %d and %d bytes", ErrCorrupt, path, size, units, entries, field(8))
	}
	l.units, l.entries = make([]unit, units/8), make([]entry, entries/16)
	r := bufio.NewReader(f)
	err = records(r, path, len(l.units), 8, func(i int, b []byte) {
		for ; len(b) >= 8; i, b = i+1, b[8:] {
			l.units[i] = unit{int32(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:])}
		}
	})
	if err != nil {
		return l, err
	}
	bad := -1
	err = records(r, path, len(l.entries), 16, func(i int, b []byte) {
		for ; len(b) >= 16; i, b = i+1, b[16:] {
			e := entry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), int16(binary.LittleEndian.Uint16(b[6:]))}
			if int(e.left) >= rights || int(e.right) >= lefts {
				bad = i
			}
			l.entries[i] = e
		}
	})
	if err == nil && bad >= 0 {
		e := l.entries[bad]
		err = fmt.Errorf("%w: %s: entry %d has contexts %d and %d, matrix.bin has %d x %d", ErrCorrupt, path, bad, e.left, e.right, rights, lefts)
	}
	return l, err
}

// readChars reads char.bin: the number of categories, their names, and a charInfo for each code point.
func readChars(fsys fs.FS, path string) (names []string, chars []charInfo, err error) {
	f, size, err := open(fsys, path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > maxCategory || size != 4+nameSize*int64(n)+4*planeSize {
		return nil, nil, fmt.Errorf("%w: %s of %d bytes with %d categories", ErrCorrupt, path, size, n)
	}
	err = records(r, path, int(n), nameSize, func(_ int, b []byte) {
		for ; len(b) >= nameSize; b = b[nameSize:] {
			name, _, _ := strings.Cut(string(b[:nameSize]), "\x00")
			names = append(names, name)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	chars = make([]charInfo, 1<<16)
	bad := -1
	err = records(r, path, planeSize, 4, func(i int, b []byte) {
		for ; len(b) >= 4; i, b = i+1, b[4:] {
			if chars[i] = charInfo(binary.LittleEndian.Uint32(b)); chars[i].category() >= int(n) {
				bad = i
			}
		}
	})
	// chars[planeSize] stays 0: MeCab reads it from behind the end of the file, in memory that is filled with zeros.
	if err == nil && bad >= 0 {
		err = fmt.Errorf("%w: %s: U+%04X is in category %d of %d", ErrCorrupt, path, bad, chars[bad].category(), n)
	}
	return names, chars, err
}

func (c charInfo) category() int            { return int(c >> categoryBits & 0xff) }
func (c charInfo) length() int              { return int(c >> lengthBits & 0xf) }
func (c charInfo) isKindOf(d charInfo) bool { return c&d&kindMask != 0 }

// readGroup reads the longest grouped run from dicrc, which need not be there.
func readGroup(fsys fs.FS, path string) (int, error) {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultGroup, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	group := defaultGroup
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || strings.TrimSpace(key) != "max-grouping-size" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < 0 || n > maxLookup {
			return 0, fmt.Errorf("%w: %s: max-grouping-size is %q", ErrCorrupt, path, value)
		}
		if n > 0 { // 0 means the default
			group = n
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return group, nil
}

// at returns unit i, one that nothing matches where the array ends.
func (l *lexicon) at(i uint32) unit {
	if int64(i) < int64(len(l.units)) {
		return l.units[i]
	}
	return unit{base: 0, check: 1<<32 - 1}
}

// value returns the entries of the word that ends at the state with base b, none when no word does.
func (l *lexicon) value(b uint32) []entry {
	u := l.at(b)
	if u.check != b || u.base >= 0 {
		return nil
	}
	v := uint32(-u.base - 1)
	first, n := v>>8, v&0xff
	if int64(first)+int64(n) > int64(len(l.entries)) {
		return nil
	}
	return l.entries[first : first+n]
}

// exact returns the entries of one word.
func (l *lexicon) exact(word string) []entry {
	b := uint32(l.at(0).base)
	for i := range len(word) {
		u := l.at(b + uint32(word[i]) + 1)
		if u.check != b {
			return nil
		}
		b = uint32(u.base)
	}
	return l.value(b)
}
