package index

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteTo writes the information for people: what is in the index, what its parts cost, its segments and its
// codebooks.
func (in Info) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, c)
		}
		fmt.Fprintln(tw)
	}
	row("documents", in.Documents)
	row("deleted, still on disk", in.Deleted)
	row("tokens", in.Tokens)
	row("dimension", in.Dim)
	row("bits per dimension", in.NBits)
	row("generation", in.Generation)
	row("bytes per token, without text", fmt.Sprintf("%.1f", in.BytesPerToken))
	k := in.Knobs
	centroids := "by tokens"
	switch {
	case k.FixedCodebook:
		centroids = "given codebook"
	case k.Centroids > 0:
		centroids = fmt.Sprint(k.Centroids)
	}
	row("centroids", centroids)
	row("vectors", k.Normalize)
	row("tokens per document, at most", k.MaxDocTokens)
	row("tokens per segment, about", k.SegmentTokens)
	row("empty documents", map[bool]string{false: "refused", true: "allowed"}[k.AllowEmpty])
	row("seed", k.Seed)
	for _, t := range in.Tunings {
		row(fmt.Sprintf("searches for %d hits", t.K), fmt.Sprintf("NProbe %d, NDocs %d: recall %.3f of %d queries, %.3f wanted, %d documents then",
			t.NProbe, t.NDocs, t.Recall, t.Queries, t.Wanted, t.Docs))
	}
	for _, k := range slices.Sorted(maps.Keys(in.Attributes)) {
		row(clip(k), clip(in.Attributes[k]))
	}
	_ = tw.Flush()
	b.WriteString("\n")
	tw = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row("part", "size", "share", "per token", "")
	var stored uint64
	for _, s := range in.Segments {
		stored += s.Tokens
	}
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"residuals", in.Bytes.Residuals}, {"codes", in.Bytes.Codes}, {"norms", in.Bytes.Norms}, {"offsets", in.Bytes.Offsets},
		{"postings", in.Bytes.Postings}, {"ids", in.Bytes.IDs}, {"metadata", in.Bytes.Metadata}, {"text", in.Bytes.Text},
		{"codebooks", in.Bytes.Codebooks}, {"deletions", in.Bytes.Deletions}, {"other", in.Bytes.Other}, {"total", in.Bytes.Total},
	} {
		row(p.name, humanBytes(p.n), fmt.Sprintf("%.1f%%", 100*ratio(p.n, in.Bytes.Total)), fmt.Sprintf("%.2f", ratio(p.n, int64(stored))), "")
	}
	_ = tw.Flush()
	b.WriteString("\n")
	tw = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row("segment", "documents", "deleted", "tokens", "size", "residual", "codebook", "")
	for _, s := range in.Segments {
		row(s.Name, s.Documents, s.Deleted, s.Tokens, humanBytes(s.Bytes), fmt.Sprintf("%.3f", s.MeanResidual), short(s.Codebook), "")
	}
	_ = tw.Flush()
	b.WriteString("\n")
	tw = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row("codebook", "centroids", "bits", "trained for", "residual", "size", "")
	for _, c := range in.Codebooks {
		row(short(c.ID), c.Centroids, c.NBits, c.TrainTokens, fmt.Sprintf("%.3f", c.MeanResidual), humanBytes(c.Bytes), "")
	}
	_ = tw.Flush()
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// String is what WriteTo writes.
func (in Info) String() string {
	var b strings.Builder
	_, _ = in.WriteTo(&b)
	return b.String()
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func short(id string) string { return id[:min(len(id), 8)] }

func humanBytes(n int64) string {
	const units = "kMGTPE"
	if n < 10_000 {
		return fmt.Sprintf("%d B", n)
	}
	x, u := float64(n)/1000, 0
	for x >= 1000 && u < len(units)-1 {
		x, u = x/1000, u+1
	}
	return fmt.Sprintf("%.1f %cB", x, units[u])
}
