package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

func Example() {
	dir, err := os.MkdirTemp("", "hello")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := hello(context.Background(), filepath.Join(dir, "index")); err != nil {
		fmt.Println(err)
	}
	// Output: owl Owls hunt at night; their feathers make no sound.
}
