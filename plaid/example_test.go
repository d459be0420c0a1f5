package plaid_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

func ExampleSearcher_Search() {
	ctx := context.Background()
	tmp, err := os.MkdirTemp("", "plaid")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(tmp)
	ix, err := index.Create(ctx, filepath.Join(tmp, "index"), &index.Options{Dim: 2})
	if err != nil {
		panic(err)
	}
	defer ix.Close()

	_, err = ix.Add(ctx, func(yield func(index.Document, error) bool) {
		north, err := maxsim.FromRows([][]float32{{0.6, 0.8}})
		if !yield(index.Document{ID: "north", Vectors: north}, err) {
			return
		}
		both, err := maxsim.FromRows([][]float32{{0.6, 0.8}, {1, 0}})
		yield(index.Document{ID: "both", Vectors: both}, err)
	}, nil)
	if err != nil {
		panic(err)
	}

	snap, err := ix.Snapshot()
	if err != nil {
		panic(err)
	}
	defer snap.Close()
	query, _ := maxsim.FromRows([][]float32{{1, 0}})
	hits, err := plaid.NewSearcher(snap).Search(ctx, query, 10, nil)
	for _, h := range hits {
		fmt.Printf("%s %.1f\n", h.ID, h.Score)
	}
	fmt.Println(err)
	// Output:
	// both 1.0
	// north 0.6
	// <nil>
}
