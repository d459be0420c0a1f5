package index_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

func Example() {
	ctx := context.Background()
	tmp, err := os.MkdirTemp("", "golbert")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)

	ix, err := index.Create(ctx, filepath.Join(tmp, "ix"), &index.Options{Dim: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer ix.Close()
	// Token vectors come from an encoder; here two documents of two tokens each.
	north, _ := maxsim.FromRows([][]float32{{0, 1}, {.6, .8}})
	east, _ := maxsim.FromRows([][]float32{{1, 0}, {.8, .6}})
	_, err = ix.Add(ctx, func(yield func(index.Document, error) bool) {
		_ = yield(index.Document{ID: "n", Vectors: north, Text: "up", Meta: index.Metadata{"year": 1999}}, nil) &&
			yield(index.Document{ID: "e", Vectors: east, Text: "right"}, nil)
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	snap, err := ix.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	defer snap.Close()
	seg, ord, _ := snap.Lookup("n")
	text, _ := seg.Text(ord)
	meta, _ := seg.Metadata(ord)
	fmt.Println(snap.NumDocs(), snap.NumTokens(), text, meta, seg.DocTokens(ord))
	// Output: 2 4 up map[year:1999] 2
}
