package golbertmini

import (
	_ "embed"
	"fmt"
	"sync"

	"github.com/golbert/golbert/encoder"
)

// Name is the model's name, as Model.Name returns it and indexes record it. It changes with the weights, so that an index
// is never searched with other weights than it was made with: that of the untrained model was golbertmini.
const Name = "golbertmini-2"

//go:embed model.safetensors
var file []byte

// shared holds the one loaded copy of the weights in each precision. It is never closed: what it maps is the program
// itself.
var shared = [...]func() (*encoder.Model, error){
	encoder.Float32:  sync.OnceValues(func() (*encoder.Model, error) { return load(file, encoder.Float32) }),
	encoder.BFloat16: sync.OnceValues(func() (*encoder.Model, error) { return load(file, encoder.BFloat16) }),
	encoder.Int8:     sync.OnceValues(func() (*encoder.Model, error) { return load(file, encoder.Int8) }),
}

// Open returns the embedded model. The first call of a process loads the weights, about 50 ms of work on one core;
// every later one shares them and costs nothing. Each returned model is closed on its own, and closing it does not
// give the weights' 45 MB back.
//
// The file's weights are int8: OpenWith and the precision encoder.Int8 use them as they are, at several times the speed
// and in 11 MB; what changes is that activations are rounded to 8 bits, too.
//
// The error is not nil only when the program's own data is damaged or the machine lacks the memory.
func Open() (*encoder.Model, error) { return OpenWith(nil) }

// OpenWith is Open with options, such as other lengths. The model's name stays.
func OpenWith(o *encoder.Options) (*encoder.Model, error) {
	var p encoder.Options
	if o != nil {
		p = *o
	}
	if int(p.Precision) >= len(shared) {
		return nil, fmt.Errorf("golbertmini: %w: option Precision is %v", encoder.ErrOptions, p.Precision)
	}
	base, err := shared[p.Precision]()
	if err != nil {
		return nil, err
	}
	p.Name = Name
	return base.With(&p)
}
