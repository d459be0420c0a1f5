// Command dump writes the words of texts for compare.py: it reads texts from stdin, each a little-endian uint32 length
// and that many bytes, and writes for each the number of words, then start and end of each (uint32, in bytes). With a
// vocabulary, which may be followed by "character", it writes the tokens of the texts: their number, then their ids.
package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"log"
	"os"

	"github.com/golbert/golbert/encoder/japanese"
	"github.com/golbert/golbert/encoder/tokenizer"
)

func main() {
	d, err := japanese.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var tok *tokenizer.Tokenizer
	if len(os.Args) > 2 {
		vocab, err := os.ReadFile(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		if tok, err = tokenizer.FromVocab(vocab, tokenizer.VocabOptions{Cased: true, Words: d, Characters: len(os.Args) > 3}); err != nil {
			log.Fatal(err)
		}
	}
	r, w := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	defer w.Flush()
	var words [][2]int32
	var enc tokenizer.Encoding
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
		var out []byte
		if tok != nil {
			tok.AppendEncode(&enc, string(text), tokenizer.EncodeOptions{AddSpecial: true})
			out = binary.LittleEndian.AppendUint32(nil, uint32(len(enc.IDs)))
			for _, id := range enc.IDs {
				out = binary.LittleEndian.AppendUint32(out, uint32(id))
			}
		} else {
			words = d.AppendWords(words[:0], text)
			out = binary.LittleEndian.AppendUint32(nil, uint32(len(words)))
			for _, s := range words {
				out = binary.LittleEndian.AppendUint32(out, uint32(s[0]))
				out = binary.LittleEndian.AppendUint32(out, uint32(s[1]))
			}
		}
		if _, err := w.Write(out); err != nil {
			log.Fatal(err)
		}
	}
}
