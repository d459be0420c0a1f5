// Package jsonscan reads JSON from untrusted files in one pass: no reflection, no allocation for what is
// skipped, a bound on nesting, and byte offsets in every error. It is strict: RFC 8259, valid UTF-8, no
// unpaired surrogates.
//
// The caller walks the document in order. Object and Array call back once per member, and the callback must
// consume exactly one value with String, Int, Float, Bool, Null, Raw, Skip, Object or Array.
package jsonscan

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSyntax marks malformed JSON, or JSON of another shape than the caller asked for.
var ErrSyntax = errors.New("malformed JSON")

// SyntaxError tells what is wrong at which byte. It unwraps to ErrSyntax.
type SyntaxError struct {
	Offset int64
	Msg    string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Msg, e.Offset) }

// Unwrap returns ErrSyntax.
func (e *SyntaxError) Unwrap() error { return ErrSyntax }

// Kind is the type of the next value.
type Kind uint8

// The kinds of values. Invalid stands for the end of the input too.
const (
	Invalid Kind = iota
	Object
	Array
	String
	Number
	Bool
	Null
)

// String names the kind as error messages do.
func (k Kind) String() string {
	return [...]string{"nothing", "an object", "an array", "a string", "a number", "a boolean", "null"}[k]
}

// MaxDepth is the deepest nesting that a Scanner follows.
const MaxDepth = 64

// Scanner walks one document. It is not safe for concurrent use.
type Scanner struct {
	b     []byte
	pos   int
	depth int
	buf   []byte // the last string with escapes
}

// New returns a scanner of b, which must not change while it is in use.
func New(b []byte) *Scanner { return &Scanner{b: b} }

// Offset is the position of the next unread byte.
func (s *Scanner) Offset() int64 { return int64(s.pos) }

// Errorf makes a SyntaxError at the current position.
func (s *Scanner) Errorf(format string, args ...any) error {
	return &SyntaxError{Offset: int64(s.pos), Msg: fmt.Sprintf(format, args...)}
}

func (s *Scanner) space() {
	for s.pos < len(s.b) {
		switch s.b[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// Peek tells the kind of the next value without reading it.
func (s *Scanner) Peek() Kind {
	s.space()
	if s.pos == len(s.b) {
		return Invalid
	}
	switch c := s.b[s.pos]; {
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == '"':
		return String
	case c == '-' || c >= '0' && c <= '9':
		return Number
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	}
	return Invalid
}

func (s *Scanner) want(k Kind) error {
	if got := s.Peek(); got != k {
		return s.Errorf("want %v, found %v", k, got)
	}
	return nil
}

func (s *Scanner) enter() error {
	if s.depth++; s.depth > MaxDepth {
		return s.Errorf("nested deeper than %d", MaxDepth)
	}
	return nil
}

// next reads a comma (true) or the closing byte (false) after a member.
func (s *Scanner) next(end byte) (bool, error) {
	s.space()
	if s.pos == len(s.b) {
		return false, s.Errorf("unexpected end")
	}
	switch s.b[s.pos] {
	case ',':
		s.pos++
		return true, nil
	case end:
		s.pos++
		return false, nil
	}
	return false, s.Errorf("want ',' or '%c', found %q", end, s.b[s.pos])
}

// Object reads an object and calls f once per member, in order, duplicates included. The key is valid until
// the scanner reads on; f must read the value.
func (s *Scanner) Object(f func(key []byte) error) error {
	if err := s.want(Object); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	s.pos++
	if s.space(); s.pos < len(s.b) && s.b[s.pos] == '}' {
		s.pos++
		s.depth--
		return nil
	}
	for more := true; more; {
		key, err := s.Bytes()
		if err != nil {
			return err
		}
		if s.space(); s.pos == len(s.b) || s.b[s.pos] != ':' {
			return s.Errorf("want ':' after an object's key")
		}
		s.pos++
		if err := f(key); err != nil {
			return err
		}
		if more, err = s.next('}'); err != nil {
			return err
		}
	}
	s.depth--
	return nil
}

// Array reads an array and calls f once per element with its index; f must read the element.
func (s *Scanner) Array(f func(i int) error) error {
	if err := s.want(Array); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	s.pos++
	if s.space(); s.pos < len(s.b) && s.b[s.pos] == ']' {
		s.pos++
		s.depth--
		return nil
	}
	for i, more := 0, true; more; i++ {
		err := f(i)
		if err != nil {
			return err
		}
		if more, err = s.next(']'); err != nil {
			return err
		}
	}
	s.depth--
	return nil
}

// Text reads a string into memory of its own.
func (s *Scanner) Text() (string, error) {
	b, err := s.Bytes()
	return string(b), err
}

// Bytes reads a string. The result is valid until the next string is read.
func (s *Scanner) Bytes() ([]byte, error) {
	if err := s.want(String); err != nil {
		return nil, err
	}
	start := s.pos + 1
	ascii := true
	for i := start; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(s.b[start:i]) {
				return nil, s.Errorf("string is not UTF-8")
			}
			s.pos = i + 1
			return s.b[start:i], nil
		case c == '\\':
			return s.escaped(start, i)
		case c < 0x20:
			s.pos = i
			return nil, s.Errorf("control character in a string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, s.Errorf("unterminated string")
}

// escaped reads on a string that starts at start and has its first backslash at i.
func (s *Scanner) escaped(start, i int) ([]byte, error) {
	s.buf = append(s.buf[:0], s.b[start:i]...)
	for i < len(s.b) {
		c := s.b[i]
		switch {
		case c == '"':
			if !utf8.Valid(s.buf) {
				return nil, s.Errorf("string is not UTF-8")
			}
			s.pos = i + 1
			return s.buf, nil
		case c < 0x20:
			s.pos = i
			return nil, s.Errorf("control character in a string")
		case c != '\\':
			s.buf = append(s.buf, c)
			i++
			continue
		}
		if i+1 == len(s.b) {
			break
		}
		i += 2
		switch c := s.b[i-1]; c {
		case '"', '\\', '/':
			s.buf = append(s.buf, c)
		case 'b':
			s.buf = append(s.buf, '\b')
		case 'f':
			s.buf = append(s.buf, '\f')
		case 'n':
			s.buf = append(s.buf, '\n')
		case 'r':
			s.buf = append(s.buf, '\r')
		case 't':
			s.buf = append(s.buf, '\t')
		case 'u':
			r := hex4(s.b[i:])
			if r < 0 {
				s.pos = i
				return nil, s.Errorf(`want four hexadecimal digits after \u`)
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(s.b)-i >= 6 && s.b[i] == '\\' && s.b[i+1] == 'u' {
					low = hex4(s.b[i+2:])
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					s.pos = i
					return nil, s.Errorf("unpaired surrogate")
				}
				i += 6
			}
			s.buf = utf8.AppendRune(s.buf, r)
		default:
			s.pos = i - 1
			return nil, s.Errorf("unknown escape %q", c)
		}
	}
	return nil, s.Errorf("unterminated string")
}

// hex4 reads four hexadecimal digits, -1 when there are none.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// number returns the text of a number, checked against the grammar.
func (s *Scanner) number() ([]byte, error) {
	if err := s.want(Number); err != nil {
		return nil, err
	}
	i := s.pos
	digits := func() bool {
		from := i
		for i < len(s.b) && s.b[i] >= '0' && s.b[i] <= '9' {
			i++
		}
		return i > from
	}
	if s.b[i] == '-' {
		i++
	}
	first := i
	ok := digits() && (i-first == 1 || s.b[first] != '0')
	if ok && i < len(s.b) && s.b[i] == '.' {
		i++
		ok = digits()
	}
	if ok && i < len(s.b) && (s.b[i] == 'e' || s.b[i] == 'E') {
		if i++; i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		ok = digits()
	}
	if !ok || i-s.pos > 400 {
		return nil, s.Errorf("malformed number")
	}
	n := s.b[s.pos:i]
	s.pos = i
	return n, nil
}

// Int reads an integer. Numbers with a fraction or beyond 64 bits are errors; 1e3 is one too.
func (s *Scanner) Int() (int64, error) {
	at := s.pos
	n, err := s.number()
	if err != nil {
		return 0, err
	}
	if len(n) < 18 { // fits without checks
		var v int64
		d := n
		if n[0] == '-' {
			d = n[1:]
		}
		for _, c := range d {
			if c < '0' || c > '9' {
				return 0, &SyntaxError{int64(at), fmt.Sprintf("want an integer, found %s", n)}
			}
			v = v*10 + int64(c-'0')
		}
		if n[0] == '-' {
			v = -v
		}
		return v, nil
	}
	v, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return 0, &SyntaxError{int64(at), fmt.Sprintf("want a 64-bit integer, found %s", n)}
	}
	return v, nil
}

// Float reads a number.
func (s *Scanner) Float() (float64, error) {
	at := s.pos
	n, err := s.number()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(string(n), 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, &SyntaxError{int64(at), fmt.Sprintf("number %s is out of range", n)}
	}
	return v, nil
}

func (s *Scanner) word(w string) bool {
	if len(s.b)-s.pos < len(w) || string(s.b[s.pos:s.pos+len(w)]) != w {
		return false
	}
	s.pos += len(w)
	return true
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	if err := s.want(Bool); err != nil {
		return false, err
	}
	if s.word("true") {
		return true, nil
	}
	if s.word("false") {
		return false, nil
	}
	return false, s.Errorf("malformed literal")
}

// Null reads null when it comes next, and tells whether it did.
func (s *Scanner) Null() (bool, error) {
	if s.Peek() != Null {
		return false, nil
	}
	if !s.word("null") {
		return false, s.Errorf("malformed literal")
	}
	return true, nil
}

// Skip reads one value of any kind and checks its syntax.
func (s *Scanner) Skip() error {
	var err error
	switch s.Peek() {
	case Object:
		err = s.Object(func([]byte) error { return s.Skip() })
	case Array:
		err = s.Array(func(int) error { return s.Skip() })
	case String:
		_, err = s.Bytes()
	case Number:
		_, err = s.number()
	case Bool:
		_, err = s.Bool()
	case Null:
		_, err = s.Null()
	default:
		err = s.Errorf("want a value")
	}
	return err
}

// Raw reads one value of any kind and returns its text, a part of the input.
func (s *Scanner) Raw() ([]byte, error) {
	s.space()
	start := s.pos
	err := s.Skip()
	return s.b[start:s.pos], err
}

// End checks that nothing but white space is left.
func (s *Scanner) End() error {
	if s.space(); s.pos < len(s.b) {
		return s.Errorf("data after the end of the document")
	}
	return nil
}
