package main

import (
	"fmt"
	"strings"
)

// vec is a vector register. General registers are named by their numbers, too: gp(4) is R4.
type (
	vec int
	gp  int
)

func (v vec) String() string { return fmt.Sprintf("V%d", int(v)) }
func (r gp) String() string  { return fmt.Sprintf("R%d", int(r)) }

// param is a parameter of a function, passed on the stack (ABI0).
type param struct{ name, kind string }

// asm collects the text of an assembly file and of the Go file that declares its functions. Instructions that Go's
// assembler knows are written as they are; the others, most of the vector arithmetic, as words.
type asm struct {
	code, stubs strings.Builder
	params      map[string]string // operand of each parameter of the current function
	labels      int
}

func (a *asm) op(format string, args ...any) {
	fmt.Fprintf(&a.code, "\t"+format+"\n", args...)
}

func (a *asm) label(name string) { fmt.Fprintf(&a.code, "%s:\n", name) }

// newLabel returns a name that no other label of the file has.
func (a *asm) newLabel(name string) string {
	a.labels++
	return fmt.Sprintf("%s_%d", name, a.labels)
}

// text begins a function. ret is the kind of the result, "" for none.
func (a *asm) text(name, doc string, params []param, ret string) {
	size := func(kind string) int {
		if kind == "float32" || kind == "uint32" {
			return 4
		}
		return 8
	}
	a.params = map[string]string{}
	off := 0
	align := func(n int) { off = (off + n - 1) / n * n }
	var list []string
	for _, p := range params {
		n := size(p.kind)
		align(n)
		a.params[p.name] = fmt.Sprintf("%s+%d(FP)", p.name, off)
		off += n
		list = append(list, p.name+" "+p.kind)
	}
	if ret != "" {
		align(8)
		a.params["ret"] = fmt.Sprintf("ret+%d(FP)", off)
		off += size(ret)
	}
	sig := strings.Join(list, ", ")
	fmt.Fprintf(&a.code, "\n// func %s(%s) %s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, sig, ret, name, off)
	fmt.Fprintf(&a.stubs, "\n// %s %s\n//\n//go:noescape\nfunc %s(%s) %s\n", name, doc, name, sig, ret)
}

// load fetches a parameter into a general register.
func (a *asm) load(name string, r gp) { a.op("MOVD %s, %v", a.params[name], r) }

// loadU32 fetches a 32-bit parameter, zero-extended.
func (a *asm) loadU32(name string, r gp) { a.op("MOVWU %s, %v", a.params[name], r) }

// loadF32 fetches a float32 into all lanes.
func (a *asm) loadF32(name string, v vec) {
	a.op("FMOVS %s, F%d", a.params[name], int(v))
	a.op("VDUP %v.S[0], %v.S4", v, v)
}

// retF32 and retW return the first lane and a general register.
func (a *asm) retF32(v vec) {
	a.op("FMOVS F%d, %s", int(v), a.params["ret"])
	a.op("RET")
}

func (a *asm) retW(r gp) {
	a.op("MOVW %v, %s", r, a.params["ret"])
	a.op("RET")
}

// word emits an instruction that Go's assembler lacks.
func (a *asm) word(code uint32, format string, args ...any) {
	fmt.Fprintf(&a.code, "\tWORD $0x%08x // %s\n", code, fmt.Sprintf(format, args...))
}

// op3 is an instruction of three vector registers, dst last as in Go's syntax; name holds the lanes' shape.
type op3 struct {
	code        uint32
	name, shape string
}

// Encodings from the Arm Architecture Reference Manual, C7.2; vectors are whole, of 128 bits.
var (
	fmlaV   = op3{0x4e20cc00, "FMLA", "4S"}
	fmlsV   = op3{0x4ea0cc00, "FMLS", "4S"}
	fmulV   = op3{0x6e20dc00, "FMUL", "4S"}
	faddV   = op3{0x4e20d400, "FADD", "4S"}
	fsubV   = op3{0x4ea0d400, "FSUB", "4S"}
	fdivV   = op3{0x6e20fc00, "FDIV", "4S"}
	fmaxV   = op3{0x4e20f400, "FMAX", "4S"}
	fminV   = op3{0x4ea0f400, "FMIN", "4S"}
	fmaxnmV = op3{0x4e20c400, "FMAXNM", "4S"}
	fcmgtV  = op3{0x6ea0e400, "FCMGT", "4S"}
	faddpV  = op3{0x6e20d400, "FADDP", "4S"}
	cmhiV   = op3{0x6ea03400, "CMHI", "4S"}
	umaxB   = op3{0x6e206400, "UMAX", "16B"}
	umaxS   = op3{0x6ea06400, "UMAX", "4S"}
	addS    = op3{0x4ea08400, "ADD", "4S"}
	mlaS    = op3{0x4ea09400, "MLA", "4S"}
	andB    = op3{0x4e201c00, "AND", "16B"}
	bitB    = op3{0x6ea01c00, "BIT", "16B"} // where the mask has ones, dst = src
	tblB    = op3{0x4e000000, "TBL", "16B"} // dst = table[index], 0 beyond 15
)

// v3 computes dst from n and m.
func (a *asm) v3(o op3, dst, n, m vec) {
	a.word(o.code|uint32(m)<<16|uint32(n)<<5|uint32(dst), "%s %v.%s, %v.%s, %v.%s", o.name, dst, o.shape, n, o.shape, m, o.shape)
}

// op2 is an instruction of two registers.
type op2 struct {
	code uint32
	name string
}

var (
	scvtf   = op2{0x4e21d800, "SCVTF.4S"}
	fcvtns  = op2{0x4e21a800, "FCVTNS.4S"}
	frintn  = op2{0x4e218800, "FRINTN.4S"}
	fmaxv   = op2{0x6e30f800, "FMAXV.4S"} // of the lanes, NaN wins
	umaxv   = op2{0x6eb0a800, "UMAXV.4S"}
	uaddlv  = op2{0x6e303800, "UADDLV.16B"} // sum of 16 bytes
	fcvtl   = op2{0x0e217800, "FCVTL.4S.4H"}
	fcvtl2  = op2{0x4e217800, "FCVTL2.4S.8H"}
	sxtl    = op2{0x0f10a400, "SXTL.4S.4H"}
	sxtl2   = op2{0x4f10a400, "SXTL2.4S.8H"}
	fcvtn   = op2{0x0e216800, "FCVTN.4H.4S"}
	fcvtn2  = op2{0x4e216800, "FCVTN2.8H.4S"}
	ushr4   = op2{0x6f0c0400, "USHR.16B #4"}
	shl23   = op2{0x4f375400, "SHL.4S #23"}
	moveAll = op2{0x4ea01c00, "MOV.16B"} // ORR with itself
)

func (a *asm) v2(o op2, dst, n vec) {
	code := o.code | uint32(n)<<5 | uint32(dst)
	if o.name == moveAll.name {
		code |= uint32(n) << 16
	}
	a.word(code, "%s %v, %v", o.name, dst, n)
}

func (a *asm) zero(v vec) { a.op("VEOR %v.B16, %v.B16, %v.B16", v, v, v) }

// element is a multiply-accumulate with one 32-bit element of the last register, broadcast.
type element struct {
	code uint32
	name string
}

var (
	fmlaE = element{0x4f801000, "FMLA"} // dst.4S += n.4S * m.S[i]
	fmulE = element{0x4f809000, "FMUL"} // dst.4S = n.4S * m.S[i]
	sdotE = element{0x4f80e000, "SDOT"} // dst.4S += sums of 4 products of int8 of n and of m.4B[i]
)

func (a *asm) by(e element, dst, n, m vec, i int) {
	code := e.code | uint32(m)<<16 | uint32(n)<<5 | uint32(dst) | uint32(i&1)<<21 | uint32(i>>1)<<11
	a.word(code, "%s %v, %v, %v[%d]", e.name, dst, n, m, i)
}

// constU32 loads a constant into all lanes, by way of a general register.
func (a *asm) constU32(v vec, u uint32, name string) {
	a.op("MOVW $0x%08x, R15 // %s", u, name)
	a.op("VDUP R15, %v.S4", v)
}

func (a *asm) loadVec(p gp, off int, v vec)  { a.op("FMOVQ %d(%v), F%d", off, p, int(v)) }
func (a *asm) storeVec(v vec, p gp, off int) { a.op("FMOVQ F%d, %d(%v)", int(v), off, p) }
