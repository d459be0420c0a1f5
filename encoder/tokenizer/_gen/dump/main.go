// Command dump tokenizes texts for compare.py: it reads texts from stdin, each a little-endian uint32 length and
// that many bytes, and writes for each the number of tokens, then id, start and end of each token (int32, offsets
// in code points).
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/golbert/golbert/encoder/tokenizer"
)

func main() {
	b, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			log.Fatal(err)
		}
		if b, err = io.ReadAll(z); err != nil {
			log.Fatal(err)
		}
	}
	var tok *tokenizer.Tokenizer
	if strings.Contains(filepath.Base(os.Args[1]), "tokenizer.json") {
		tok, err = tokenizer.FromJSON(b)
	} else if strings.HasSuffix(os.Args[1], ".model") {
		tok, err = tokenizer.FromSentencePiece(b, tokenizer.SentencePieceOptions{Native: os.Args[2] == "native"})
	} else if filepath.Base(os.Args[1]) == "vocab.json" {
		var merges []byte
		if merges, err = os.ReadFile(filepath.Join(filepath.Dir(os.Args[1]), "merges.txt")); err == nil {
			tok, err = tokenizer.FromMerges(b, merges, tokenizer.MergesOptions{AddPrefixSpace: len(os.Args) > 2})
		}
	} else {
		tok, err = tokenizer.FromVocab(b, tokenizer.VocabOptions{Cased: os.Args[2] == "cased"})
	}
	if err != nil {
		log.Fatal(err)
	}
	r, w := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	defer w.Flush()
	var enc tokenizer.Encoding
	var point []int32
	for {
		var n uint32
		if err := binary.Read(r, binary.LittleEndian, &n); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(r, text); err != nil {
			log.Fatal(err)
		}
		tok.AppendEncode(&enc, string(text), tokenizer.EncodeOptions{AddSpecial: true})
		point = point[:0]
		c := int32(0)
		for i := range len(text) + 1 {
			point = append(point, c)
			if i+1 > len(text) || i+1 == len(text) || utf8.RuneStart(text[i+1]) {
				c++
			}
		}
		out := binary.LittleEndian.AppendUint32(nil, uint32(len(enc.IDs)))
		for i, id := range enc.IDs {
			out = binary.LittleEndian.AppendUint32(out, uint32(id))
			out = binary.LittleEndian.AppendUint32(out, uint32(point[enc.Offsets[i][0]]))
			out = binary.LittleEndian.AppendUint32(out, uint32(point[enc.Offsets[i][1]]))
		}
		if _, err := w.Write(out); err != nil {
			log.Fatal(err)
		}
	}
}
