package colbert_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder/golbertmini"
)

// Index a few texts and search them with the embedded model.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "golbert")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	enc, err := golbertmini.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer enc.Close()
	ix, err := colbert.Create(ctx, filepath.Join(dir, "index"), enc, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer ix.Close()
	_, err = ix.Add(ctx, slices.Values([]colbert.Document{
		{ID: "tides", Text: "The moon's gravity pulls the water of the oceans and makes the tides."},
		{ID: "bread", Text: "Yeast turns sugar into gas, and the dough rises before it is baked."},
		{ID: "birds", Text: "Swallows fly to Africa in autumn and come back in spring."},
	}), nil)
	if err != nil {
		log.Fatal(err)
	}
	hits, err := ix.Search(ctx, "why does the sea level go up and down", 1, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(hits[0].ID)
	// Output: tides
}

func ExampleRerank() {
	enc, err := golbertmini.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer enc.Close()
	hits, err := colbert.Rerank(context.Background(), enc, "how to make dough rise", colbert.Texts(
		"Swallows fly to Africa in autumn.",
		"Bakers add yeast to flour and water.",
	), 2)
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range hits {
		fmt.Println(h.Rank, h.Text)
	}
	// Output:
	// 1 Bakers add yeast to flour and water.
	// 2 Swallows fly to Africa in autumn.
}
