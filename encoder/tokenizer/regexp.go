package tokenizer

import (
	"errors"
	"regexp"
	"strings"
)

// goPattern matches with a Go regular expression.
type goPattern struct{ re *regexp.Regexp }

func (p goPattern) find(text []byte, at int) (int, int) {
	// Anchors and word boundaries, which would see the cut at at, are refused by newRegexp.
	m := p.re.FindIndex(text[at:])
	if m == nil {
		return -1, 0
	}
	return at + m[0], at + m[1]
}

var errPattern = errors.New("pattern is not supported")

// newRegexp finds a matcher for a regular expression in Oniguruma's syntax: a scanner for those of well-known
// tokenizers, else Go's package regexp, provided that it means the same there. Unicode classes are then those of
// this Go release.
func newRegexp(pattern string) (matcher, error) {
	if m, ok := scanners[pattern]; ok {
		return m, nil
	}
	switch pattern {
	case " {2,}":
		return spaceRun(2), nil
	case " +":
		return spaceRun(1), nil
	}
	translated, ok := translate(pattern)
	if !ok {
		return nil, errPattern
	}
	re, err := regexp.Compile(translated)
	if err != nil {
		return nil, err
	}
	if re.MatchString("") { // empty matches count differently
		return nil, errPattern
	}
	return goPattern{re}, nil
}

// onigSpace is \s as part of a class: \p{White_Space}.
const onigSpace = `\t-\r\x{85}\p{Z}`

// translate writes a pattern for Go. It refuses what Go lacks or reads differently: look-around, possessive
// quantifiers, back references, anchors, and classes of which Go knows the ASCII part only.
func translate(p string) (string, bool) {
	var b strings.Builder
	class := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '\\':
			if i++; i == len(p) {
				return "", false
			}
			switch c := p[i]; {
			case c == 's' && class:
				b.WriteString(onigSpace)
			case c == 's':
				b.WriteString("[" + onigSpace + "]")
			case c == 'S' && !class:
				b.WriteString("[^" + onigSpace + "]")
			case c == 'd':
				b.WriteString(`\p{Nd}`)
			case c == 'p' || c == 'P':
				end := strings.IndexByte(p[i:], '}')
				if end < 0 || p[i+1] != '{' {
					return "", false
				}
				b.WriteByte('\\')
				b.WriteString(p[i : i+end+1])
				i += end
			case c == 'n' || c == 'r' || c == 't' || c == 'f' || c == 'v':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c < 0x80 && asciiClasses[c] == asciiPunct:
				b.WriteByte('\\')
				b.WriteByte(c)
			default:
				return "", false
			}
		case '[':
			if class { // Oniguruma's classes nest
				return "", false
			}
			class = true
			b.WriteByte(c)
			if i+1 < len(p) && p[i+1] == '^' {
				i++
				b.WriteByte('^')
			}
			if i+1 < len(p) && p[i+1] == ']' {
				return "", false
			}
		case ']':
			class = false
			b.WriteByte(c)
		case '&':
			if class && i+1 < len(p) && p[i+1] == '&' {
				return "", false
			}
			b.WriteByte(c)
		case '^', '$':
			if !class {
				return "", false
			}
			b.WriteByte(c)
		case '(':
			if !class && i+1 < len(p) && p[i+1] == '?' {
				rest := p[i+2:]
				if !strings.HasPrefix(rest, ":") && !strings.HasPrefix(rest, "i:") {
					return "", false
				}
			}
			b.WriteByte(c)
		case '+', '*', '?', '}':
			if !class && i+1 < len(p) && p[i+1] == '+' { // possessive, or a repetition of a repetition
				return "", false
			}
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}
