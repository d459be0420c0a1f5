package colbert

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/index/interop"
)

// Errors of Import and Export, under the names by which users of this package meet them. A *FileError of the
// interop package in the chain names the file at fault.
var (
	// ErrForeign reports a directory without an index that Import knows.
	ErrForeign = interop.ErrUnknown
	// ErrForeignCorrupt reports a damaged or hostile file in the directory that Import reads.
	ErrForeignCorrupt = interop.ErrCorrupt
	// ErrUnsupported reports a form of index that Import does not read, or Export cannot write.
	ErrUnsupported = interop.ErrUnsupported
	// ErrReencode reports an Export that must code the vectors anew: see ExportOptions.
	ErrReencode = interop.ErrReencode
	// ErrLossy reports an Export that would round centroids: see ExportOptions.
	ErrLossy = interop.ErrLossy
)

// ImportOptions say how Import works. A nil pointer means the zero value.
type ImportOptions struct {
	// Encoder is the encoder whose vectors the source holds. It is not called: the index remembers its name,
	// so that Open refuses another one. Its dimension must be the source's (ErrModelMismatch). Without it
	// the index opens with any encoder of its dimension.
	Encoder Encoder
	// Language is as in Options.
	Language string
	// Index holds storage options; Codebook, Dim, NBits and Centroids are the source's and must not be set.
	Index index.Options
	// Source says how the source is read.
	Source interop.Options
	// Found, when set, is called when the source has been recognised and checked, before anything is
	// written; an error ends the import.
	Found func(*interop.Source) error
	// Progress, when set, is called now and then.
	Progress func(index.Progress)
}

// ImportResult says what Import found and did.
type ImportResult struct {
	Format    interop.Format  // the program that wrote the source
	Wrapper   interop.Wrapper // and the one around it, if any
	Documents int
	Removed   int // documents that were removed in the source and still took a place
	Tokens    uint64
	Dim       int
	NBits     int
	Centroids int
	// Checkpoint is the model that the source says it was made with, if it does.
	Checkpoint string
	// Notes are sentences for people, such as differences between the source's parts.
	Notes []string
}

// Import makes an index in dst, which must be absent or empty, of the one in src that another program made:
// colbert-ai or RAGatouille, fast-plaid or PyLate, next-plaid. Codes, residuals and centroids are taken over
// byte for byte, so that scores are those of that program; ids, texts and metadata come along where it has
// them. src is only read. Open the index with the encoder that the source was made with.
//
// Errors: ErrForeign, ErrForeignCorrupt, ErrUnsupported, ErrModelMismatch, ErrExists, and those of the index.
func Import(ctx context.Context, dst, src string, o *ImportOptions) (_ *ImportResult, err error) {
	var opt ImportOptions
	if o != nil {
		opt = *o
	}
	s, err := interop.Open(ctx, src, &opt.Source)
	if err != nil {
		return nil, fmt.Errorf("colbert: import: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	attrs := maps.Clone(opt.Index.Attributes)
	if attrs == nil {
		attrs = map[string]string{}
	}
	if e := opt.Encoder; e != nil {
		if e.Dim() != s.Dim() {
			return nil, &ModelMismatchError{IndexModel: s.Checkpoint(), IndexDim: s.Dim(), EncoderModel: e.Name(), EncoderDim: e.Dim()}
		}
		maps.Copy(attrs, describe(e))
	}
	if opt.Language != "" {
		attrs[attrLanguage] = opt.Language
	}
	if opt.Found != nil {
		if err := opt.Found(s); err != nil {
			return nil, err
		}
	}
	x := opt.Index
	x.Attributes = attrs
	res, err := interop.Import(ctx, dst, s, &interop.ImportOptions{Index: x, Progress: opt.Progress})
	if err != nil {
		return nil, fmt.Errorf("colbert: %w", err)
	}
	return &ImportResult{
		Format: s.Format(), Wrapper: s.Wrapper(), Documents: res.Added, Removed: s.NumRemoved(), Tokens: res.Tokens,
		Dim: s.Dim(), NBits: s.NBits(), Centroids: s.Codebook().K(), Checkpoint: s.Checkpoint(), Notes: s.Notes(),
	}, nil
}

// ExportOptions say how Export works. A nil pointer means the zero value.
type ExportOptions = interop.ExportOptions

// ExportResult says what Export wrote.
type ExportResult = interop.ExportResult

// Export writes the index in src as one of another program into dst, which must be absent or empty: format is
// interop.ColBERTAI (which RAGatouille opens as well) or interop.FastPLAID (PyLate too, with an option). The
// index may be open elsewhere; its newest commit is what is written.
//
// An index that golbert trained has what the others do not know, and needs ExportOptions.Reencode (else
// ErrReencode); one that was imported goes back byte for byte, but for next-plaid's float32 centroids
// (ErrLossy).
func Export(ctx context.Context, dst, src string, format interop.Format, o *ExportOptions) (_ *ExportResult, err error) {
	write := interop.WriteColBERTAI
	switch format {
	case interop.ColBERTAI:
	case interop.FastPLAID:
		write = interop.WriteFastPLAID
	default:
		return nil, fmt.Errorf("colbert: export to %q: %w", format, ErrUnsupported)
	}
	ix, err := index.Open(ctx, src, &index.OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("colbert: export: %w", err)
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	snap, err := ix.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("colbert: export: %w", err)
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	res, err := write(ctx, dst, snap, o)
	if err != nil {
		return nil, fmt.Errorf("colbert: %w", err)
	}
	return res, nil
}
