// Hello indexes three texts and searches them; it is the program of the README.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder/golbertmini"
)

func main() {
	dir, err := os.MkdirTemp("", "hello")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := hello(context.Background(), dir+"/index"); err != nil {
		log.Fatal(err)
	}
}

func hello(ctx context.Context, dir string) error {
	model, err := golbertmini.Open()
	if err != nil {
		return err
	}
	defer model.Close()
	ix, err := colbert.Create(ctx, dir, model, nil)
	if err != nil {
		return err
	}
	defer ix.Close()
	if _, err := ix.Add(ctx, slices.Values([]colbert.Document{
		{ID: "owl", Text: "Owls hunt at night; their feathers make no sound."},
		{ID: "tea", Text: "Green tea turns bitter when the water is too hot."},
		{ID: "moss", Text: "Moss grows where it is damp and the sun is weak."},
	}), nil); err != nil {
		return err
	}
	hits, err := ix.Search(ctx, "which bird is active in the dark?", 1, nil)
	for _, h := range hits {
		fmt.Println(h.ID, h.Text)
	}
	return err
}
