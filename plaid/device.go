package plaid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

// ErrDevice reports a device that is unknown or failed. The snapshot stays usable: NewSearcher searches it on the CPU.
var ErrDevice = errors.New("plaid: device")

// Backend opens accelerators of one kind. Packages such as plaid/cuda register one when they are imported.
type Backend interface {
	// Open opens device number n, counted from 0.
	Open(n int) (Device, error)
}

// Device is an open accelerator. It is safe for concurrent use.
type Device interface {
	// Name describes it.
	Name() string
	// Load copies a snapshot's segments to the device. The snapshot must stay open until the result is closed.
	Load(ctx context.Context, s *index.Snapshot, o *DeviceOptions) (DeviceIndex, error)
	// Close gives the device back; what was loaded on it is gone.
	Close() error
}

// DeviceOptions say how an index lies on a device. A nil pointer means the zero value.
type DeviceOptions struct {
	// HostResiduals keeps the residuals, most of an index, in the snapshot's files and moves those of each query's
	// shortlist only. Without it that is done when the device's memory is too small.
	HostResiduals bool
	// MaxBatch bounds the queries that are worked on together; 0 chooses by memory.
	MaxBatch int
	// Progress, when not nil, is called with the documents that are loaded and their number, from the device's own
	// goroutine: it must not use the device.
	Progress func(done, total int)
}

// DeviceIndex finds the best documents of a loaded snapshot. It is safe for concurrent use.
type DeviceIndex interface {
	// Search finds, for every query, the Keep best documents of each codebook's segments by the stages of PLAID, with
	// their exact scores in float32. The lists are in no particular order.
	Search(ctx context.Context, q *DeviceSearch) ([][]DeviceHit, error)
	// Info tells what is where.
	Info() DeviceInfo
	// Close frees the device memory.
	Close() error
}

// DeviceSearch is one call to a device.
type DeviceSearch struct {
	// Queries are valid and of the index's dimension, in the space of the input.
	Queries []maxsim.Matrix
	// K is the number of hits wanted, Keep how many documents of each codebook get exact scores.
	K, Keep int
	// NProbe is the number of centroids probed per query token; 0 takes every allowed document for a candidate.
	NProbe int
	// NDocs is, per codebook in the order of first use among the segments, how many candidates get compressed-domain
	// scores. Exhaustive decodes every allowed document instead.
	NDocs      []int
	Exhaustive bool
	// Allowed is, per segment, the bitset of the documents that may be found; nil for all.
	Allowed [][]uint64
}

// DeviceHit is a document with its score.
type DeviceHit struct {
	Segment int // number in Snapshot.Segments
	Ord     uint32
	Score   float32
}

// DeviceInfo describes an index on a device.
type DeviceInfo struct {
	Device        string
	Docs          int
	Tokens        uint64
	DeviceBytes   uint64 // device memory of the index, scratch not counted
	HostResiduals bool   // residuals are read from the snapshot's files
	// MaxQueryTokens is the longest query that is taken; longer ones are ErrTooManyTokens.
	MaxQueryTokens int
}

var (
	backendsMu sync.Mutex
	backends   = map[string]Backend{}
)

// RegisterBackend makes a kind of device known by a name, such as "cuda". It is called by the init functions of the packages
// that bring one and panics when the name is taken.
func RegisterBackend(name string, b Backend) {
	backendsMu.Lock()
	defer backendsMu.Unlock()
	if _, ok := backends[name]; ok {
		panic(fmt.Sprintf("plaid: a backend named %q is registered already", name))
	}
	backends[name] = b
}

// OpenDevice opens a device by its kind and number: "cuda" is the first one, "cuda:1" the second. Errors wrap ErrDevice and
// what the backend says; a kind that is not registered names the import that is missing.
func OpenDevice(name string) (Device, error) {
	kind, number, numbered := strings.Cut(name, ":")
	n := 0
	if numbered {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 0 {
			return nil, fmt.Errorf("%w %q: %q is not a number", ErrDevice, name, number)
		}
	}
	backendsMu.Lock()
	b, ok := backends[kind]
	var known []string
	for k := range backends {
		known = append(known, k)
	}
	backendsMu.Unlock()
	if !ok {
		slices.Sort(known)
		return nil, fmt.Errorf("%w %q: no such kind is registered (there are: %s); import its package, such as github.com/golbert/golbert/plaid/cuda",
			ErrDevice, name, strings.Join(known, ", "))
	}
	d, err := b.Open(n)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrDevice, name, err)
	}
	return d, nil
}

// NewSearcherOn returns a Searcher whose searches run on a device. It copies the snapshot there, which takes as long as
// reading it; the snapshot must stay open until the Searcher is closed. Options.CentroidThreshold is not supported
// on devices. Errors wrap ErrDevice.
func NewSearcherOn(ctx context.Context, s *index.Snapshot, d Device, o *DeviceOptions) (*Searcher, error) {
	loaded, err := d.Load(ctx, s, o)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrDevice, d.Name(), err)
	}
	sr := NewSearcher(s)
	sr.device = loaded
	return sr, nil
}

// Device describes the index on the Searcher's device; ok is false when it searches on the CPU.
func (s *Searcher) Device() (info DeviceInfo, ok bool) {
	if s.device == nil {
		return DeviceInfo{}, false
	}
	return s.device.Info(), true
}

// Close frees the device memory of a Searcher made by NewSearcherOn; for others it does nothing.
func (s *Searcher) Close() error {
	if s.device == nil {
		return nil
	}
	return s.device.Close()
}

// searchDevice runs valid queries of a plan on the device. Hits are ordered as everywhere.
func (s *Searcher) searchDevice(ctx context.Context, qs []maxsim.Matrix, pl *plan, stats *Stats) ([][]Hit, error) {
	if pl.threshold > 0 {
		return nil, fmt.Errorf("CentroidThreshold on a device: %w", ErrInvalidOptions)
	}
	req := &DeviceSearch{Queries: qs, K: pl.k, Keep: rescoreDocs(pl.k), NDocs: pl.shortlist, Exhaustive: pl.mode == modeExhaustive}
	if pl.mode == modeProbe {
		req.NProbe = pl.nprobe
	}
	req.Allowed = make([][]uint64, len(pl.masks))
	for i := range pl.masks {
		if !pl.masks[i].all {
			req.Allowed[i] = pl.masks[i].docs
		}
	}
	found, err := s.device.Search(ctx, req)
	if err != nil {
		if cerr := ctx.Err(); cerr != nil && errors.Is(err, cerr) {
			return nil, err
		}
		return nil, fmt.Errorf("%w %s: %w", ErrDevice, s.device.Info().Device, err)
	}
	out := make([][]Hit, len(qs))
	var best topk
	for i, hits := range found {
		best.reset(s.units, pl.k)
		for _, h := range hits {
			best.push(entry{score: h.Score, unit: uint32(h.Segment), ord: h.Ord})
		}
		if out[i], err = best.hits(); err != nil {
			return nil, err
		}
		stats.add(&Stats{Queries: 1, Mode: pl.mode.String(), NProbe: req.NProbe, Allowed: pl.allowed, Decoded: len(hits)})
	}
	return out, nil
}
