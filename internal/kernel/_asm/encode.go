package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// The assembler of Go has no VDPBF16PS. Generators write VDPBF16PS as VPDPBUSD in functions whose name contains BF16, and
// encodeBF16 replaces these lines of the assembly file by the bytes of the instruction.
var (
	funcLine = regexp.MustCompile(`(?m)^// func (\w+)\(`)
	dotLine  = regexp.MustCompile(`(?m)^\tVPDPBUSD +Z(\d+), Z(\d+), Z(\d+)$`)
)

func encodeBF16(file string) error {
	src, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	at := 0
	bf16 := false
	flush := func(end int) {
		part := src[at:end]
		if bf16 {
			part = dotLine.ReplaceAllFunc(part, func(line []byte) []byte {
				var r [3]int
				for i, m := range dotLine.FindSubmatch(line)[1:] {
					r[i], _ = strconv.Atoi(string(m))
				}
				return vdpbf16ps(r[0], r[1], r[2])
			})
			part = bytes.ReplaceAll(part, []byte("AVX512VNNI"), []byte("AVX512_BF16"))
		}
		out.Write(part)
		at = end
	}
	for _, m := range funcLine.FindAllSubmatchIndex(src, -1) {
		flush(m[0])
		bf16 = bytes.Contains(src[m[2]:m[3]], []byte("BF16"))
	}
	flush(len(src))
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// vdpbf16ps encodes VDPBF16PS zmm dst, zmm a, zmm b: EVEX.512.F3.0F38.W0 52 /r (Intel SDM volume 2). The extension bits
// of the register numbers are stored inverted.
func vdpbf16ps(b, a, dst int) []byte {
	inv := func(r, bit int) int { return 1 - r>>bit&1 }
	code := []int{
		0x62,
		inv(dst, 3)<<7 | inv(b, 4)<<6 | inv(b, 3)<<5 | inv(dst, 4)<<4 | 2,
		(15-a&15)<<3 | 1<<2 | 2,
		2<<5 | inv(a, 4)<<3,
		0x52,
		3<<6 | dst&7<<3 | b&7,
	}
	line := "\t"
	for i, c := range code {
		if i > 0 {
			line += "; "
		}
		line += fmt.Sprintf("BYTE $0x%02x", c)
	}
	return fmt.Appendf(nil, "%s // VDPBF16PS Z%d, Z%d, Z%d", line, b, a, dst)
}
