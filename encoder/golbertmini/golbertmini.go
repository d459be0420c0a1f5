// Package golbertmini is the embedded default model.
package golbertmini

import "github.com/golbert/golbert/encoder"

// Name is the model's name, as Model.Name returns it and indexes record it.
const Name = "golbertmini"

// Open returns the model.
func Open() (*encoder.Model, error) { return nil, encoder.ErrUnsupported }
