// Command _asm generates the amd64 assembly of package kernel with avo. Run generate.sh; the output is committed.
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	file := flag.String("file", "", "what to generate: gemm, gemmbf16, gemmint8, maxsim, half, vector, convert, gather, levels, residual, peak, grad, adam, unpack or crc")
	flag.Parse()
	gen, ok := map[string]func(isa){
		"gemm":     genGemm,
		"gemmbf16": genGemmBF16,
		"gemmint8": genGemmInt8,
		"maxsim":   genMaxSim,
		"half":     genHalf,
		"vector":   genVector,
		"convert":  genConvert,
		"gather":   genGather,
		"levels":   genLevels,
		"residual": genResidual,
		"peak":     genPeak,
		"grad":     genGrad,
		"adam":     genAdam,
		"unpack":   genUnpack,
		"crc":      genCRC,
	}[*file]
	if !ok {
		log.Fatalf("unknown -file %q", *file)
	}
	ConstraintExpr("amd64,!noasm")
	for _, s := range []isa{avx2, avx512} {
		gen(s)
	}
	Generate()
	if err := encodeBF16(flag.Lookup("out").Value.String()); err != nil {
		log.Fatal(err)
	}
}
