package tokenizer

import "fmt"

// The ids of ByT5: three special tokens, the bytes, and markers that only its pre-training used.
const (
	bytesPad, bytesEOS, bytesUnk = 0, 1, 2
	bytesFirst                   = 3
	bytesExtra                   = 125
)

// Bytes returns the tokenizer of ByT5 and MrT5, which needs no file: a byte b has id b+3; 0, 1 and 2 are <pad>,
// </s> and <unk>, and ids 259 to 383 the markers <extra_id_0> to <extra_id_124>. A text ends with </s>. All bytes
// of a character have the place of the whole character.
func Bytes() *Tokenizer {
	v, err := newVocab(bytesFirst+256+bytesExtra, bytesFirst+256+bytesExtra-1)
	if err != nil {
		panic(err) // cannot happen: the numbers are constant
	}
	var added []AddedToken
	add := func(name string, id int) {
		if err := v.add(name, id); err != nil {
			panic(err) // as above
		}
		if id < bytesFirst || id >= bytesFirst+256 {
			added = append(added, AddedToken{Content: name, Special: true})
		}
	}
	add("<pad>", bytesPad)
	add("</s>", bytesEOS)
	add("<unk>", bytesUnk)
	for b := range 256 {
		add(string(rune(b)), bytesFirst+b)
	}
	for i := range bytesExtra {
		add(fmt.Sprintf("<extra_id_%d>", i), bytesFirst+256+i)
	}
	t, err := build(v, verbatim{}, nil, byteModel{}, added, [4][]string{nil, {"</s>"}, {"<pad>"}, nil})
	if err != nil {
		panic(err) // as above
	}
	t.unk, t.after = bytesUnk, []int32{bytesEOS}
	return t
}

// byteModel is the model of Bytes.
type byteModel struct{}

// tokenize implements model.
func (byteModel) tokenize(dst []piece, word []byte, _ *scratch) []piece {
	for i, b := range word {
		dst = append(dst, piece{bytesFirst + int32(b), span{int32(i), int32(i + 1)}})
	}
	return dst
}
