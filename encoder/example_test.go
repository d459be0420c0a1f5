package encoder_test

import (
	"context"
	"fmt"
	"log"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder/golbertmini"
)

func Example() {
	ctx := context.Background()
	m, err := golbertmini.Open() // or encoder.Open with a checkpoint's folder
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	q, err := m.EncodeQuery(ctx, "where are the heart's valves", nil)
	if err != nil {
		log.Fatal(err)
	}
	texts := []string{
		"The moon's gravity raises the tides.",
		"The mitral valve lies between the left atrium and the left ventricle.",
	}
	docs, err := m.EncodeDocuments(ctx, texts, nil)
	if err != nil {
		log.Fatal(err)
	}
	best, top := 0, float32(0)
	for i, d := range docs {
		s, err := maxsim.Score(q.Vectors, d.Vectors)
		if err != nil {
			log.Fatal(err)
		}
		if s > top {
			best, top = i, s
		}
	}
	fmt.Println(texts[best])

	// Every vector knows the part of the text that it stands for.
	for _, t := range docs[best].Tokens[2:4] {
		fmt.Println(t.Text, t.Start, t.End)
	}
	// Output:
	// The mitral valve lies between the left atrium and the left ventricle.
	// mit 4 7
	// ##ral 7 10
}
