package interop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"

	"github.com/golbert/golbert/index"
)

// ImportOptions say what index Import makes. A nil pointer means the zero value.
type ImportOptions struct {
	// Index holds storage options. Codebook, Dim, NBits and Centroids are the source's and must not be set;
	// MaxDocTokens is raised to the source's longest document. Attributes are stored beside the source's own
	// (Source.Attributes).
	Index index.Options
	// Progress, when set, is called now and then; its Total is the number of documents.
	Progress func(index.Progress)
}

// Import writes a golbert index of a source's documents into dir, which must be absent or empty: the source's
// codes, residuals, centroids and levels byte for byte, ids, texts and metadata. The directory appears only
// when it is complete. Errors are those of the index package, the source's, and ErrExists.
//
// Documents that are added to the index later are coded with the source's codebook.
func Import(ctx context.Context, dir string, s *Source, o *ImportOptions) (index.AddResult, error) {
	var opt ImportOptions
	if o != nil {
		opt = *o
	}
	x := opt.Index
	if x.Codebook != nil || x.Dim != 0 || x.NBits != 0 || x.Centroids != 0 {
		return index.AddResult{}, fmt.Errorf("interop: Codebook, Dim, NBits and Centroids are the source's: %w", index.ErrInvalidOptions)
	}
	x.Codebook = s.Codebook()
	if x.MaxDocTokens == 0 {
		x.MaxDocTokens = index.DefaultMaxDocTokens
	}
	x.MaxDocTokens = max(x.MaxDocTokens, s.MaxDocTokens())
	x.Attributes = s.Attributes()
	maps.Copy(x.Attributes, opt.Index.Attributes)
	add := &index.AddOptions{}
	if opt.Progress != nil {
		add.Progress = func(p index.Progress) {
			p.Total = s.NumDocs()
			opt.Progress(p)
		}
	}
	var res index.AddResult
	err := place(dir, func(tmp string) error {
		ix, err := index.Create(ctx, tmp, &x)
		if err != nil {
			return err
		}
		res, err = ix.AddEncoded(ctx, encoded(s.Documents(ctx)), add)
		return errors.Join(err, ix.Close())
	})
	if err != nil {
		return index.AddResult{}, fmt.Errorf("interop: import: %w", err)
	}
	return res, nil
}

func encoded(docs iter.Seq2[Document, error]) iter.Seq2[index.EncodedDocument, error] {
	return func(yield func(index.EncodedDocument, error) bool) {
		for d, err := range docs {
			if !yield(index.EncodedDocument{ID: d.ID, Text: d.Text, Meta: d.Meta, Codes: d.Codes, Residuals: d.Residuals}, err) {
				return
			}
		}
	}
}

// place lets make fill a new directory beside dir, and gives it its name when it is complete. What failed
// leaves nothing behind.
func place(dir string, make func(tmp string) error) (err error) {
	dir = filepath.Clean(dir)
	names, err := os.ReadDir(dir)
	switch {
	case err == nil && len(names) > 0:
		return fmt.Errorf("%s holds %q: %w", dir, names[0].Name(), ErrExists)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".tmp-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	// MkdirTemp's mode is for secrets; this is a directory like any other.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := make(tmp); err != nil {
		return err
	}
	// An empty target gives way; if something has come into it since, Remove fails.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(parent)
}

// syncDir makes a rename durable, where the system has a way.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync() // Windows and some file systems have none for directories
	return nil
}
