package index

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the text form.
const (
	maxFilterText  = 1 << 20
	maxFilterDepth = 200
)

// FilterError says where the text of a filter goes wrong. It wraps ErrInvalidFilter.
type FilterError struct {
	Text   string
	Offset int // byte
	Reason string
}

// Error names the offset and what was found there.
func (e *FilterError) Error() string {
	return fmt.Sprintf("index: filter %q, byte %d: %s", clip(e.Text), e.Offset, e.Reason)
}

// Unwrap gives ErrInvalidFilter.
func (e *FilterError) Unwrap() error { return ErrInvalidFilter }

// ParseFilter reads the text form of a filter:
//
//	lang = "de" and year >= 2020
//	(kind in ("faq", "manual") or not exists(kind)) and created < time("2024-06-01")
//
// Comparisons are = != < <= > >=, in (...) and not in (...); they combine by and, or, not and parentheses, and
// binds tighter than or. Literals are strings in double quotes with Go's escapes or in single quotes (” is a
// quote), numbers (an integer without a point or exponent), true, false, and time("...") with an RFC 3339 time
// or a date. Fields are letters, digits, _ and ., or anything in backquotes. exists(field), id("a", "b"),
// all() and none() stand for the functions of those names. Words do not depend on case. A field != value
// selects documents without the field, too, as Not does. Errors are *FilterError.
func ParseFilter(text string) (Filter, error) {
	p := &filterParser{text: text}
	if len(text) > maxFilterText || !utf8.ValidString(text) {
		return nil, p.fail("want at most %d bytes of UTF-8, got %d bytes", maxFilterText, len(text))
	}
	f, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(text) {
		return nil, p.fail("%s is not understood here", p.found())
	}
	return f, nil
}

type filterParser struct {
	text  string
	at    int
	depth int
}

func (p *filterParser) fail(format string, args ...any) error {
	return &FilterError{Text: p.text, Offset: p.at, Reason: fmt.Sprintf(format, args...)}
}

// found names what stands at the current place.
func (p *filterParser) found() string {
	if p.at >= len(p.text) {
		return "the end"
	}
	return strconv.Quote(clip(p.text[p.at:]))
}

func (p *filterParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// symbol takes one of the symbols, the first that fits.
func (p *filterParser) symbol(symbols ...string) string {
	p.space()
	for _, s := range symbols {
		if strings.HasPrefix(p.text[p.at:], s) {
			p.at += len(s)
			return s
		}
	}
	return ""
}

func (p *filterParser) expect(s string) error {
	if p.symbol(s) == "" {
		return p.fail("expected %q, found %s", s, p.found())
	}
	return nil
}

func wordByte(c byte) bool {
	return c == '_' || c == '.' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

// peekWord gives the word at the current place without taking it.
func (p *filterParser) peekWord() string {
	p.space()
	end := p.at
	for end < len(p.text) && wordByte(p.text[end]) {
		end++
	}
	return p.text[p.at:end]
}

// keyword takes a word if it stands here.
func (p *filterParser) keyword(w string) bool {
	got := p.peekWord()
	if !strings.EqualFold(got, w) {
		return false
	}
	p.at += len(got)
	return true
}

func (p *filterParser) or() (Filter, error)  { return p.chain("or", Or, p.and) }
func (p *filterParser) and() (Filter, error) { return p.chain("and", And, p.unary) }

func (p *filterParser) chain(word string, join func(...Filter) Filter, next func() (Filter, error)) (Filter, error) {
	f, err := next()
	if err != nil {
		return nil, err
	}
	all := []Filter{f}
	for p.keyword(word) {
		if f, err = next(); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return join(all...), nil
}

func (p *filterParser) unary() (Filter, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, p.fail("nested deeper than %d", maxFilterDepth)
	}
	defer func() { p.depth-- }()
	if p.keyword("not") {
		f, err := p.unary()
		if err != nil {
			return nil, err
		}
		return Not(f), nil
	}
	if p.symbol("(") != "" {
		f, err := p.or()
		if err != nil {
			return nil, err
		}
		return f, p.expect(")")
	}
	return p.predicate()
}

func (p *filterParser) predicate() (Filter, error) {
	p.space()
	start := p.at
	word := p.peekWord()
	p.at += len(word)
	if p.symbol("(") != "" {
		return p.call(strings.ToLower(word), start)
	}
	p.at = start
	field, err := p.field()
	if err != nil {
		return nil, err
	}
	negate := p.keyword("not")
	if p.keyword("in") {
		f, err := p.list(field)
		if err == nil && negate {
			f = Not(f)
		}
		return f, err
	}
	if negate {
		return nil, p.fail("expected in after not, found %s", p.found())
	}
	op := p.symbol("==", "=", "!=", "<>", "<=", "<", ">=", ">")
	if op == "" {
		return nil, p.fail("expected a comparison after field %q, found %s", clip(field), p.found())
	}
	v, err := p.literal()
	if err != nil {
		return nil, err
	}
	switch op {
	case "==", "=":
		return Eq(field, v), nil
	case "!=", "<>":
		return Not(Eq(field, v)), nil
	case "<":
		return Range(field, Bounds{LessThan: v}), nil
	case "<=":
		return Range(field, Bounds{AtMost: v}), nil
	case ">":
		return Range(field, Bounds{GreaterThan: v}), nil
	}
	return Range(field, Bounds{AtLeast: v}), nil
}

// call reads what follows name( .
func (p *filterParser) call(name string, start int) (Filter, error) {
	switch name {
	case "exists":
		field, err := p.field()
		if err != nil {
			return nil, err
		}
		return Exists(field), p.expect(")")
	case "all", "none":
		if name == "all" {
			return And(), p.expect(")")
		}
		return Or(), p.expect(")")
	case "id":
		var ids []string
		err := p.items(func() error {
			v, err := p.literal()
			if err != nil {
				return err
			}
			s, ok := v.(string)
			if !ok {
				return p.fail("an id is a string, not %v", v)
			}
			ids = append(ids, s)
			return nil
		})
		return IDs(ids...), err
	}
	p.at = start
	return nil, p.fail("unknown function %q", clip(name))
}

func (p *filterParser) list(field string) (Filter, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var values []any
	err := p.items(func() error {
		v, err := p.literal()
		values = append(values, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return In(field, values...), nil
}

// items reads item, item, ... ) ; the list may be empty.
func (p *filterParser) items(item func() error) error {
	if p.symbol(")") != "" {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if p.symbol(",") == "" {
			return p.expect(")")
		}
	}
}

func (p *filterParser) field() (string, error) {
	p.space()
	name := p.peekWord()
	switch {
	case p.at < len(p.text) && p.text[p.at] == '`':
		end := strings.IndexByte(p.text[p.at+1:], '`')
		if end < 0 {
			return "", p.fail("field in backquotes has no end")
		}
		name = p.text[p.at+1 : p.at+1+end]
		p.at += end + 2
	case name == "" || name[0] >= '0' && name[0] <= '9':
		return "", p.fail("expected a field, found %s", p.found())
	case reserved(name):
		return "", p.fail("expected a field, found the word %q (a field of that name goes in backquotes)", name)
	default:
		p.at += len(name)
	}
	if _, err := toValue(name, true); err != nil {
		return "", p.fail("field: %v", err)
	}
	return name, nil
}

func reserved(name string) bool {
	switch strings.ToLower(name) {
	case "and", "or", "not", "in", "true", "false":
		return true
	}
	return false
}

// quoteField writes a field as the text form has it. A name with a backquote has no text form.
func quoteField(name string) string {
	bare := name != "" && (name[0] < '0' || name[0] > '9') && !reserved(name)
	for i := range len(name) {
		bare = bare && wordByte(name[i])
	}
	if bare {
		return name
	}
	return "`" + name + "`"
}

func (p *filterParser) literal() (any, error) {
	p.space()
	if p.at >= len(p.text) {
		return nil, p.fail("expected a value, found the end")
	}
	switch c := p.text[p.at]; {
	case c == '"':
		q, err := strconv.QuotedPrefix(p.text[p.at:])
		if err != nil {
			return nil, p.fail("string in double quotes: %v", err)
		}
		s, err := strconv.Unquote(q)
		if err != nil || !utf8.ValidString(s) {
			return nil, p.fail("string %s is not UTF-8", clip(q))
		}
		p.at += len(q)
		return s, nil
	case c == '\'':
		return p.singleQuoted()
	case c == '-' || c == '+' || c == '.' || c >= '0' && c <= '9':
		return p.number()
	}
	switch {
	case p.keyword("true"):
		return true, nil
	case p.keyword("false"):
		return false, nil
	case p.keyword("time"):
		return p.time()
	case p.keyword("NaN"), p.keyword("Inf"):
		return nil, p.fail("not a finite number")
	}
	return nil, p.fail("expected a string in quotes, a number, true, false or time(...), found %s", p.found())
}

func (p *filterParser) singleQuoted() (any, error) {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		if p.text[i] != '\'' {
			b.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		p.at = i + 1
		return b.String(), nil
	}
	return nil, p.fail("string in single quotes has no end")
}

func (p *filterParser) number() (any, error) {
	end := p.at
	for end < len(p.text) && (wordByte(p.text[end]) || p.text[end] == '+' || p.text[end] == '-') {
		end++
	}
	s := p.text[p.at:end]
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		p.at = end
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.ContainsAny(s, "xXpP_iInN") {
		return nil, p.fail("%q is not a finite number", clip(s))
	}
	p.at = end
	return f, nil
}

func (p *filterParser) time() (any, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	v, err := p.literal()
	if err != nil {
		return nil, err
	}
	s, ok := v.(string)
	if !ok {
		return nil, p.fail("time takes a string")
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, p.expect(")")
		}
	}
	return nil, p.fail("%q is neither an RFC 3339 time nor a date", clip(s))
}
