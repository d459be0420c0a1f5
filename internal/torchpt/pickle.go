package torchpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// Dict is a dict or OrderedDict with string or integer keys, in the file's order.
type Dict struct {
	Keys   []any // string or int64
	Values []any
}

// Get returns the value of a key, nil when it is absent.
func (d *Dict) Get(key any) any {
	for i, k := range d.Keys {
		if k == key {
			return d.Values[i]
		}
	}
	return nil
}

// List is a list or a tuple.
type List []any

// Parse reads a torch file from its bytes. The value is one of nil, bool, int64, float64, string, *Tensor,
// *Dict and List, nested as in the file. Tensors share memory with b where they can. The error wraps
// ErrFormat, and ErrForbidden when the pickle names something that is not allowed.
func Parse(b []byte) (any, error) {
	if bytes.HasPrefix(b, legacyMagic) {
		return parseLegacy(b)
	}
	a, err := openArchive(b)
	if err != nil {
		return nil, err
	}
	p, err := a.read("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	m := &machine{in: p, storages: map[string]*storage{}}
	m.load = func(key string, size uint64, _ DType) ([]byte, error) { return a.read("data/"+key, size) }
	v, err := m.run()
	if err != nil {
		return nil, fmt.Errorf("data.pkl, byte %d: %w", m.at, err)
	}
	return v, nil
}

// ParsePickle reads a bare pickle of plain values (no tensors), such as the id maps that PyLate writes:
// the same instructions and the same refusals as Parse.
func ParsePickle(b []byte) (any, error) {
	m := &machine{in: b}
	v, err := m.run()
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", m.at, err)
	}
	return v, nil
}

// Values that exist only while the machine runs.
type (
	mark    struct{}
	global  string
	storage struct {
		dtype DType
		data  []byte
		probe bool // without data: only the shape of the pickle is of interest
	}
)

// allowed lists every global name that a pickle may mention. Storage classes become their DType.
var allowed = map[string]bool{
	"torch._utils _rebuild_tensor":    true, // before torch 0.4
	"torch._utils _rebuild_tensor_v2": true,
	"torch._utils _rebuild_parameter": true,
	"collections OrderedDict":         true,
}

type machine struct {
	in    []byte
	at    int
	stack []any
	memo  []any
	// load gives the bytes of a storage: as many as asked for, or fewer, which is found out. Without it
	// a pickle must not mention storages. Data that is nil makes tensors without elements.
	load     func(key string, size uint64, dtype DType) ([]byte, error)
	storages map[string]*storage
}

// maxStack bounds the values alive at once, and with them the depth of nesting. Python writes long lists
// and dicts in batches of 1,000.
const maxStack = 1 << 16

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, fmt.Errorf("empty stack: %w", ErrFormat)
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// popMark takes the values above the last mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, fmt.Errorf("no mark on the stack: %w", ErrFormat)
}

func (m *machine) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(m.in)-m.at) {
		return nil, fmt.Errorf("%d bytes wanted, %d left: %w", n, len(m.in)-m.at, ErrFormat)
	}
	b := m.in[m.at : m.at+int(n)]
	m.at += int(n)
	return b, nil
}

func (m *machine) uint(n uint64) (uint64, error) {
	b, err := m.bytes(n)
	if err != nil {
		return 0, err
	}
	var v [8]byte
	copy(v[:], b)
	return binary.LittleEndian.Uint64(v[:]), nil
}

func (m *machine) line() (string, error) {
	rest := m.in[m.at:]
	i := strings.IndexByte(string(rest[:min(len(rest), 256)]), '\n')
	if i < 0 {
		return "", fmt.Errorf("name without end: %w", ErrFormat)
	}
	m.at += i + 1
	return string(rest[:i]), nil
}

// run executes the instructions up to STOP and returns the value on top of the stack.
func (m *machine) run() (any, error) {
	for {
		op, err := m.uint(1)
		if err != nil {
			return nil, err
		}
		if op == '.' { // STOP
			v, err := m.pop()
			if err != nil {
				return nil, err
			}
			switch v.(type) {
			case nil, bool, int64, float64, string, *Tensor, *Dict, List, *List:
				return deref(v), nil
			}
			return nil, fmt.Errorf("the pickle's value is a %T: %w", v, ErrFormat)
		}
		if err := m.step(byte(op)); err != nil {
			return nil, err
		}
		if len(m.stack) > maxStack {
			return nil, fmt.Errorf("over %d values on the stack: %w", maxStack, ErrFormat)
		}
	}
}

func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.uint(1)
		if err == nil && (v < 2 || v > 5) {
			err = fmt.Errorf("pickle protocol %d: %w", v, ErrFormat)
		}
		return err
	case 0x95: // FRAME
		_, err := m.bytes(8)
		return err
	case '(':
		m.push(mark{})
	case 'N':
		m.push(nil)
	case 0x88:
		m.push(true)
	case 0x89:
		m.push(false)
	case 'J', 'K', 'M', 0x8a: // BININT, BININT1, BININT2, LONG1
		return m.integer(op)
	case 'G': // BINFLOAT, big-endian
		b, err := m.bytes(8)
		if err == nil {
			m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
		}
		return err
	case 'X', 0x8c: // BINUNICODE, SHORT_BINUNICODE
		n, err := m.uint(map[byte]uint64{'X': 4, 0x8c: 1}[op])
		if err != nil {
			return err
		}
		s, err := m.bytes(n)
		if err == nil {
			m.push(string(s))
		}
		return err
	case ')', 't', 0x85, 0x86, 0x87: // EMPTY_TUPLE, TUPLE, TUPLE1 to TUPLE3
		return m.tuple(op)
	case ']':
		m.push(&List{})
	case '}':
		m.push(&Dict{})
	case 'a', 'e', 's', 'u': // APPEND, APPENDS, SETITEM, SETITEMS
		return m.extend(op)
	case 'q', 'r', 0x94: // BINPUT, LONG_BINPUT, MEMOIZE
		return m.put(op)
	case 'h', 'j': // BINGET, LONG_BINGET
		i, err := m.uint(map[byte]uint64{'h': 1, 'j': 4}[op])
		if err != nil {
			return err
		}
		if i >= uint64(len(m.memo)) {
			return fmt.Errorf("memo entry %d of %d: %w", i, len(m.memo), ErrFormat)
		}
		switch m.memo[i].(type) {
		case *List, *Dict:
			// A container that is mentioned twice could hold itself.
			return fmt.Errorf("second mention of a %T: %w", m.memo[i], ErrForbidden)
		}
		m.push(m.memo[i])
	case 'c': // GLOBAL
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.global(module, name)
	case 0x93: // STACK_GLOBAL
		name, err := m.pop()
		if err != nil {
			return err
		}
		module, err := m.pop()
		if err != nil {
			return err
		}
		ms, ok1 := module.(string)
		ns, ok2 := name.(string)
		if !ok1 || !ok2 {
			return fmt.Errorf("global named by %T and %T: %w", module, name, ErrFormat)
		}
		return m.global(ms, ns)
	case 'Q':
		return m.persistent()
	case 'R':
		return m.reduce()
	case 'b': // BUILD: attributes such as a state dict's _metadata, which carry no tensors that are used
		state, err := m.pop()
		if err != nil {
			return err
		}
		if _, ok := state.(*Dict); !ok || len(m.stack) == 0 {
			return fmt.Errorf("BUILD with a %T: %w", state, ErrForbidden)
		}
		if _, ok := m.stack[len(m.stack)-1].(*Dict); !ok {
			return fmt.Errorf("BUILD of a %T: %w", m.stack[len(m.stack)-1], ErrForbidden)
		}
	default:
		return fmt.Errorf("instruction 0x%02x: %w", op, ErrForbidden)
	}
	return nil
}

func (m *machine) integer(op byte) error {
	n := map[byte]uint64{'J': 4, 'K': 1, 'M': 2}[op]
	if op == 0x8a {
		var err error
		if n, err = m.uint(1); err != nil {
			return err
		}
		if n > 8 {
			return fmt.Errorf("integer of %d bytes: %w", n, ErrFormat)
		}
	}
	v, err := m.uint(n)
	if err != nil {
		return err
	}
	if shift := 64 - 8*n; (op == 'J' || op == 0x8a) && n > 0 {
		m.push(int64(v<<shift) >> shift)
	} else {
		m.push(int64(v))
	}
	return nil
}

func (m *machine) tuple(op byte) error {
	var items []any
	switch op {
	case 't':
		var err error
		if items, err = m.popMark(); err != nil {
			return err
		}
	case ')':
	default:
		n := int(op - 0x84)
		if len(m.stack) < n {
			return fmt.Errorf("tuple of %d from a stack of %d: %w", n, len(m.stack), ErrFormat)
		}
		items = append(items, m.stack[len(m.stack)-n:]...)
		m.stack = m.stack[:len(m.stack)-n]
	}
	for i := range items {
		items[i] = deref(items[i])
	}
	m.push(List(items))
	return nil
}

// extend appends to the list, or sets items of the dict, below the values.
func (m *machine) extend(op byte) error {
	var items []any
	var err error
	switch op {
	case 'e', 'u':
		items, err = m.popMark()
	default:
		n := 1
		if op == 's' {
			n = 2
		}
		if len(m.stack) < n {
			return fmt.Errorf("stack of %d: %w", len(m.stack), ErrFormat)
		}
		items = append(items, m.stack[len(m.stack)-n:]...)
		m.stack = m.stack[:len(m.stack)-n]
	}
	if err != nil {
		return err
	}
	if len(m.stack) == 0 {
		return fmt.Errorf("empty stack: %w", ErrFormat)
	}
	switch c := m.stack[len(m.stack)-1].(type) {
	case *List:
		if op == 's' || op == 'u' {
			return fmt.Errorf("items set in a list: %w", ErrFormat)
		}
		*c = append(*c, items...)
	case *Dict:
		if op == 'a' || op == 'e' || len(items)%2 != 0 {
			return fmt.Errorf("%d values for a dict: %w", len(items), ErrFormat)
		}
		for i := 0; i < len(items); i += 2 {
			switch items[i].(type) {
			case string, int64:
			default:
				return fmt.Errorf("dict key of type %T: %w", items[i], ErrFormat)
			}
			c.Keys = append(c.Keys, items[i])
			c.Values = append(c.Values, deref(items[i+1]))
		}
	default:
		return fmt.Errorf("items added to a %T: %w", c, ErrFormat)
	}
	return nil
}

func (m *machine) put(op byte) error {
	i := uint64(len(m.memo))
	if op != 0x94 {
		var err error
		if i, err = m.uint(map[byte]uint64{'q': 1, 'r': 4}[op]); err != nil {
			return err
		}
	}
	if len(m.stack) == 0 {
		return fmt.Errorf("empty stack: %w", ErrFormat)
	}
	// Python numbers the memo from 0 without gaps, so a larger number is an attempt at a large allocation.
	if i > uint64(len(m.memo)) {
		return fmt.Errorf("memo entry %d after %d: %w", i, len(m.memo), ErrFormat)
	}
	v := m.stack[len(m.stack)-1]
	if i == uint64(len(m.memo)) {
		m.memo = append(m.memo, v)
	} else {
		m.memo[i] = v
	}
	return nil
}

func (m *machine) global(module, name string) error {
	full := module + " " + name
	if d := DType(strings.TrimSuffix(name, "Storage")); module == "torch" && strings.HasSuffix(name, "Storage") && d.Size() > 0 {
		m.push(d)
		return nil
	}
	if !allowed[full] {
		return fmt.Errorf("global %.100q: %w", full, ErrForbidden)
	}
	m.push(global(full))
	return nil
}

// persistent resolves ('storage', class, key, location, numel), in files before torch 1.6 with a sixth part that
// is None unless the storage is a piece of another. The location, such as a device, is ignored.
func (m *machine) persistent() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	id, ok := v.(List)
	if !ok || len(id) != 5 && len(id) != 6 || id[0] != "storage" || m.load == nil {
		return fmt.Errorf("persistent id of type %T is not a storage: %w", v, ErrForbidden)
	}
	if len(id) == 6 && id[5] != nil {
		return fmt.Errorf("storage that is a piece of another: %w", ErrForbidden)
	}
	dtype, ok1 := id[1].(DType)
	key, ok2 := id[2].(string)
	numel, ok3 := id[4].(int64)
	if !ok1 || !ok2 || !ok3 || numel < 0 || numel > math.MaxInt64/8 {
		return fmt.Errorf("storage with class %T, key %T and length %v: %w", id[1], id[2], numel, ErrFormat)
	}
	s := m.storages[key]
	if s == nil {
		size := uint64(numel) * uint64(dtype.Size())
		data, err := m.load(key, size, dtype)
		if err != nil {
			return err
		}
		s = &storage{dtype: dtype, data: data, probe: data == nil && size > 0}
		m.storages[key] = s
	}
	if s.probe {
		m.push(s)
		return nil
	}
	if s.dtype != dtype || uint64(len(s.data)) != uint64(numel)*uint64(dtype.Size()) {
		return fmt.Errorf("storage %q holds %d bytes of %s, %d elements of %s were declared: %w", key, len(s.data), s.dtype, numel, dtype, ErrFormat)
	}
	m.push(s)
	return nil
}

func (m *machine) reduce() error {
	a, err := m.pop()
	if err != nil {
		return err
	}
	f, err := m.pop()
	if err != nil {
		return err
	}
	args, ok := a.(List)
	name, ok2 := f.(global)
	if !ok || !ok2 {
		return fmt.Errorf("call of a %T with a %T: %w", f, a, ErrForbidden)
	}
	switch name {
	case "collections OrderedDict":
		if len(args) != 0 {
			return fmt.Errorf("OrderedDict with %d arguments: %w", len(args), ErrForbidden)
		}
		m.push(&Dict{})
		return nil
	case "torch._utils _rebuild_parameter": // (tensor, requires_grad, hooks)
		if len(args) > 0 {
			if t, ok := args[0].(*Tensor); ok {
				m.push(t)
				return nil
			}
		}
	case "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2": // (storage, offset, sizes, strides, requires_grad, hooks)
		if len(args) < 4 {
			break
		}
		s, ok1 := args[0].(*storage)
		offset, ok2 := args[1].(int64)
		sizes, ok3 := ints(args[2])
		strides, ok4 := ints(args[3])
		if !ok1 || !ok2 || !ok3 || !ok4 {
			break
		}
		t, err := newTensor(s, offset, sizes, strides)
		if err != nil {
			return err
		}
		m.push(t)
		return nil
	}
	// The arguments' types only: a value nested through the memo could take for ever to print.
	return fmt.Errorf("%s with %d arguments that do not fit: %w", name, len(args), ErrFormat)
}

func ints(v any) ([]int64, bool) {
	l, ok := v.(List)
	if !ok {
		return nil, false
	}
	out := make([]int64, len(l))
	for i := range l {
		if out[i], ok = l[i].(int64); !ok {
			return nil, false
		}
	}
	return out, true
}

// deref turns the list that the machine still appends to into the value that callers see.
func deref(v any) any {
	if l, ok := v.(*List); ok {
		for i := range *l {
			(*l)[i] = deref((*l)[i])
		}
		return *l
	}
	return v
}
