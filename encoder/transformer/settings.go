package transformer

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// settings reads a config.json into what one architecture needs of it and gathers what is wrong with it.
type settings struct {
	arch string
	err  error
}

// read decodes the configuration over the defaults in v.
func (s *settings) read(c *checkpoint.Config, v any) {
	if err := json.Unmarshal(c.Raw, v); err != nil {
		s.err = fmt.Errorf("%s configuration: %w: %w", s.arch, err, ErrUnsupported)
	}
}

// fail records the first fault.
func (s *settings) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%s with "+format+": %w", append(append([]any{s.arch}, args...), ErrUnsupported)...)
	}
}

// maxSize bounds every size in a configuration, so that products of three fit in an int. What the sizes ask for is
// not reserved before tensors of these shapes were found.
const maxSize = 1 << 20

// size checks that a field lies between 1 and most, or maxSize where most is 0.
func (s *settings) size(field string, n, most int) {
	if most == 0 {
		most = maxSize
	}
	if n < 1 || n > most {
		s.fail("%s %d (1 to %d are possible)", field, n, most)
	}
}

// positive checks a number that must be finite and above 0.
func (s *settings) positive(field string, x float64) {
	if !(x > 0 && x < math.MaxFloat32) {
		s.fail("%s %v", field, x)
	}
}

// activation looks up an activation's name.
func (s *settings) activation(field, name string) activation {
	a, ok := activations[name]
	if !ok {
		s.fail("%s %q", field, name)
	}
	return a
}

// ropeSettings is an entry of rope_parameters, or rope_scaling in older files.
type ropeSettings struct {
	Type    string  `json:"rope_type"`
	OldType string  `json:"type"`
	Theta   float64 `json:"rope_theta"`
	Factor  float64 `json:"factor"`
	// Of Llama 3.
	Low      float64 `json:"low_freq_factor"`
	High     float64 `json:"high_freq_factor"`
	Original float64 `json:"original_max_position_embeddings"`
}

// rope makes the rotary positions that a configuration asks for; theta is taken where p does not say.
func (s *settings) rope(p *ropeSettings, theta float64, dim int) *rope {
	if p == nil {
		p = new(ropeSettings)
	}
	if p.Theta != 0 {
		theta = p.Theta
	}
	s.positive("rope_theta", theta)
	if dim%2 != 0 {
		s.fail("head dimension %d, which rotary positions cannot pair", dim)
	}
	if s.err != nil {
		return nil
	}
	r := newRope(theta, dim)
	kind := p.Type
	if kind == "" {
		kind = p.OldType
	}
	switch kind {
	case "", "default":
	case "linear":
		s.positive("rope factor", p.Factor)
		for i := range r.freq {
			r.freq[i] /= float32(p.Factor)
		}
	case "llama3":
		s.positive("rope factor", p.Factor)
		s.positive("low_freq_factor", p.Low)
		s.positive("original_max_position_embeddings", p.Original)
		if !(p.High > p.Low) {
			s.fail("high_freq_factor %v, low_freq_factor %v", p.High, p.Low)
		}
		r.stretch(p.Factor, p.Low, p.High, p.Original)
	default:
		s.fail("rope_type %q", kind)
	}
	return r
}
