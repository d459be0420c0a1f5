package index

import "slices"

// Info describes an index for people: what is in it and what it costs.
type Info struct {
	Generation    uint64            `json:"generation"`
	Dim           int               `json:"dim"`
	NBits         int               `json:"nbits"`
	Documents     int               `json:"documents"` // live
	Deleted       int               `json:"deleted"`   // still on disk
	Tokens        uint64            `json:"tokens"`    // live
	Bytes         BytesByPart       `json:"bytes"`
	BytesPerToken float64           `json:"bytes_per_token"` // everything but text, over stored tokens
	Segments      []SegmentInfo     `json:"segments"`
	Codebooks     []CodebookInfo    `json:"codebooks"`
	Knobs         Knobs             `json:"knobs"`
	Tunings       []Tuning          `json:"tunings,omitempty"` // of searches, by ascending K
	Attributes    map[string]string `json:"attributes,omitempty"`
}

// Knobs are the options that the index was created with. See Options.
type Knobs struct {
	Centroids     int    `json:"centroids"` // 0: by the number of tokens
	FixedCodebook bool   `json:"fixed_codebook"`
	Seed          uint64 `json:"seed"`
	Normalize     string `json:"normalize"`
	MaxDocTokens  int    `json:"max_doc_tokens"`
	AllowEmpty    bool   `json:"allow_empty"`
	SegmentTokens int    `json:"segment_tokens"`
}

// BytesByPart breaks the size of the index down.
type BytesByPart struct {
	Residuals int64 `json:"residuals"`
	Codes     int64 `json:"codes"` // per document distinct codes and each token's place among them
	Norms     int64 `json:"norms"`
	Offsets   int64 `json:"offsets"` // token and code offsets per document
	Postings  int64 `json:"postings"`
	IDs       int64 `json:"ids"`
	Metadata  int64 `json:"metadata"`
	Text      int64 `json:"text"`
	Codebooks int64 `json:"codebooks"`
	Deletions int64 `json:"deletions"`
	Other     int64 `json:"other"` // headers, checksums, padding, manifest
	Total     int64 `json:"total"`
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Name         string  `json:"name"`
	Documents    int     `json:"documents"` // deleted ones included
	Deleted      int     `json:"deleted"`
	Tokens       uint64  `json:"tokens"`
	Bytes        int64   `json:"bytes"`
	Codebook     string  `json:"codebook"`
	MeanResidual float32 `json:"mean_residual"` // mean L2 norm of what the centroids leave over
}

// CodebookInfo describes one codebook.
type CodebookInfo struct {
	ID           string  `json:"id"`
	Centroids    int     `json:"centroids"`
	NBits        int     `json:"nbits"`
	TrainTokens  uint64  `json:"train_tokens"`
	MeanResidual float32 `json:"mean_residual"`
	Bytes        int64   `json:"bytes"`
}

// Info describes the newest commit; the zero Info once the index is closed.
func (ix *Index) Info() Info {
	st, err := ix.current()
	if err != nil {
		return Info{}
	}
	defer st.release()
	return st.info()
}

// Info describes the snapshot.
func (s *Snapshot) Info() Info { return s.st.info() }

func (st *state) info() Info {
	m := st.man
	in := Info{
		Generation: m.Generation, Dim: m.Dim, NBits: m.NBits, Documents: int(m.Docs), Tokens: m.Tokens,
		Knobs: Knobs{
			Centroids: m.Centroids, FixedCodebook: m.FixedCodebook, Seed: m.Seed, Normalize: m.Normalize,
			MaxDocTokens: m.MaxDocTokens, AllowEmpty: m.AllowEmpty, SegmentTokens: m.SegmentTokens,
		},
		Tunings:    slices.Clone(m.Tunings),
		Attributes: cloneAttributes(m.Attributes),
	}
	var stored uint64
	b := &in.Bytes
	for i, e := range m.Segments {
		s := st.segs[i]
		si := SegmentInfo{
			Name: e.File, Documents: int(e.Docs), Tokens: e.Tokens, Bytes: e.Length, Codebook: e.Codebook,
			MeanResidual: float32(s.MeanResidual()),
		}
		b.Total += e.Length
		b.addSections(s.f)
		if e.Deleted != nil {
			si.Deleted = int(e.Deleted.Docs)
			in.Deleted += si.Deleted
			b.Deletions += e.Deleted.Length
			b.Total += e.Deleted.Length
		}
		stored += e.Tokens
		in.Segments = append(in.Segments, si)
	}
	for _, e := range m.Codebooks {
		cb := st.books[e.ID]
		in.Codebooks = append(in.Codebooks, CodebookInfo{
			ID: e.ID, Centroids: cb.K(), NBits: cb.NBits(), TrainTokens: e.Tokens, MeanResidual: cb.MeanResidual(), Bytes: e.Length,
		})
		b.Codebooks += e.Length
		b.Total += e.Length
	}
	b.Total += st.manSize
	b.Other = b.Total - (b.Residuals + b.Codes + b.Norms + b.Offsets + b.Postings + b.IDs + b.Metadata + b.Text + b.Codebooks + b.Deletions)
	if stored > 0 {
		in.BytesPerToken = float64(b.Total-b.Text) / float64(stored)
	}
	return in
}

// addSections adds a segment file's sections to the parts they belong to.
func (b *BytesByPart) addSections(f *segFile) {
	for kind, s := range f.secs {
		n := int64(s.len)
		switch kind {
		case secResiduals:
			b.Residuals += n
		case secCodes:
			b.Codes += n
		case secNorms:
			b.Norms += n
		case secTokens, secCodeOffs:
			b.Offsets += n
		case secCentroids, secPostOffs, secPostings:
			b.Postings += n
		case secIDs, secIDOffs, secIDHashes, secIDOrds:
			b.IDs += n
		case secColumns:
			b.Metadata += n
		case secTextOffs, secTextBlocks, secText:
			b.Text += n
		}
	}
}
