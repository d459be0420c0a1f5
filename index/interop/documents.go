package interop

import (
	"context"
	"iter"
	"strconv"
)

// Document is one document of a source.
type Document struct {
	// Position is the document's number in the source: colbert-ai's pid, the others' document number.
	Position int
	// ID is the external id: what the source's id file says, made unique where it names several passages
	// alike (see Open's notes), or the position in decimal.
	ID string
	// Codes and Residuals are as index.EncodedDocument wants them. They are good until the next document.
	Codes     []uint32
	Residuals []byte
	// Text is the document's text where the source has it.
	Text string
	// Meta holds strings, int64, float64 and bool; nil when there is nothing.
	Meta map[string]any
}

// Keys of Meta for sources in which several passages share an id.
const (
	MetaDocument = "document_id" // the id in the source
	MetaPassage  = "passage"     // number of the passage among those of its id, from 0
)

// Documents gives the documents in the order of their positions, removed ones left out. It can be ranged over
// any number of times, and holds one chunk mapped at a time. An error ends it.
func (s *Source) Documents(ctx context.Context) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		fail := func(err error) { yield(Document{}, err) }
		var texts *textReader
		if s.texts != nil {
			var err error
			if texts, err = s.texts.open(); err != nil {
				fail(err)
				return
			}
			defer texts.close()
		}
		pos, passages := 0, map[string]int{}
		for i := range s.chunks {
			c, err := s.chunk(i)
			if err != nil {
				fail(err)
				return
			}
			if !s.chunkDocuments(ctx, c, i, &pos, texts, passages, yield) {
				c.close()
				return
			}
			c.close()
		}
	}
}

// chunk opens a chunk again.
func (s *Source) chunk(i int) (*chunk, error) {
	c, err := s.b.chunk(i, &s.p)
	if err == nil && (uint64(len(c.lens)) != s.chunks[i].docs || uint64(c.codes.len()) != s.chunks[i].tokens) {
		c.close()
		err = bad("chunk "+strconv.Itoa(i), "it changed while it was read")
	}
	return c, err
}

// chunkDocuments yields one chunk's documents; it returns false when the iteration is over.
func (s *Source) chunkDocuments(ctx context.Context, c *chunk, i int, pos *int, texts *textReader, passages map[string]int, yield func(Document, error) bool) bool {
	rb := s.book.RowBytes()
	var codes []uint32
	at := 0
	fail := func(err error) bool {
		yield(Document{}, err)
		return false
	}
	for _, n := range c.lens {
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		from, p := at, *pos
		at += int(n)
		*pos++
		if n == 0 || s.absent.contains(uint64(p)) {
			continue
		}
		codes = codes[:0]
		for t := from; t < at; t++ {
			code, err := c.code(t, s.book.K())
			if err != nil {
				return fail(bad("chunk "+strconv.Itoa(i), "%w", err))
			}
			codes = append(codes, code)
		}
		d := Document{Position: p, ID: s.id(p), Codes: codes, Residuals: c.residuals[from*rb : at*rb : at*rb]}
		var err error
		if texts != nil {
			if d.Text, err = texts.text(p); err != nil {
				return fail(err)
			}
		}
		if s.meta != nil {
			if d.Meta, err = s.meta.of(p, s.name(p)); err != nil {
				return fail(err)
			}
			if c := s.o.TextColumn; c != "" {
				if t, ok := d.Meta[c].(string); ok {
					d.Text = t
					delete(d.Meta, c)
				}
			}
		}
		if s.names != nil && s.names[p] != "" {
			if d.Meta == nil {
				d.Meta = map[string]any{}
			}
			d.Meta[MetaDocument], d.Meta[MetaPassage] = s.names[p], int64(passages[s.names[p]])
			passages[s.names[p]]++
		}
		if len(d.Meta) == 0 {
			d.Meta = nil
		}
		if !yield(d, nil) {
			return false
		}
	}
	return true
}

// id is a document's external id.
func (s *Source) id(pos int) string {
	if s.ids == nil {
		return strconv.Itoa(pos)
	}
	return s.ids[pos]
}

// name is what the source's id file calls a document.
func (s *Source) name(pos int) string {
	if s.names != nil && s.names[pos] != "" {
		return s.names[pos]
	}
	return s.id(pos)
}

// positions gives the live positions in order.
func (s *Source) positions(ctx context.Context) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		pos := 0
		for i := range s.chunks {
			if err := ctx.Err(); err != nil {
				yield(0, err)
				return
			}
			c, err := s.chunk(i)
			if err != nil {
				yield(0, err)
				return
			}
			lens := c.lens
			c.close()
			for _, n := range lens {
				if n > 0 && !s.absent.contains(uint64(pos)) && !yield(pos, nil) {
					return
				}
				pos++
			}
		}
	}
}
