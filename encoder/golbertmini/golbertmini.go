package golbertmini

import (
	_ "embed"
	"sync"

	"github.com/golbert/golbert/encoder"
)

// Name is the model's name, as Model.Name returns it and indexes record it.
const Name = "golbertmini"

//go:embed model.safetensors
var file []byte

// shared holds the one loaded copy of the weights. It is never closed: what it maps is the program itself.
var shared = sync.OnceValues(func() (*encoder.Model, error) { return load(file) })

// Open returns the embedded model. The first call of a process loads the weights, about 50 ms of work on one core;
// every later one shares them and costs nothing. Each returned model is closed on its own, and closing it does not
// give the weights' 45 MB back.
//
// The error is not nil only when the program's own data is damaged or the machine lacks the memory.
func Open() (*encoder.Model, error) { return OpenWith(nil) }

// OpenWith is Open with options, such as other lengths. The model's name stays.
func OpenWith(o *encoder.Options) (*encoder.Model, error) {
	base, err := shared()
	if err != nil {
		return nil, err
	}
	var p encoder.Options
	if o != nil {
		p = *o
	}
	p.Name = Name
	return base.With(&p)
}
