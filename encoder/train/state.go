package train

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/vfs"
)

// ErrResume reports a checkpoint that training cannot go on from: another model, other data or other settings, or a
// damaged file. The message names what differs.
var ErrResume = errors.New("train: cannot resume")

// stateDir is the folder of a checkpoint that holds what training needs beside the model.
const stateDir = "training"

const stateVersion = 1

// state is state.json; state.safetensors beside it holds parameters and moments.
type state struct {
	Version   int               `json:"version"`
	Step      int               `json:"step"`
	Optimizer OptimizerState    `json:"optimizer"`
	Taken     []int64           `json:"batches_taken"` // of each source
	Settings  map[string]string `json:"settings"`
	Sources   []sourceState     `json:"sources"`
}

type sourceState struct {
	Name    string `json:"name"`
	Content string `json:"content"`
}

// settings are those that decide how training goes on.
func (t *Trainer) settings() map[string]string {
	s := map[string]string{
		"loss":        fmt.Sprintf("%T%+v", t.o.Loss, t.o.Loss),
		"optimizer":   describe(t.o.Optimizer),
		"batch":       fmt.Sprint(t.o.Batch),
		"accumulate":  fmt.Sprint(t.o.Accumulate),
		"microtokens": fmt.Sprint(t.o.MicroTokens), // sums in another order differ in their last bits
		"negatives":   fmt.Sprint(t.o.Negatives),
		"clip":        fmt.Sprint(t.o.ClipNorm),
		"seed":        fmt.Sprint(t.o.Seed),
		"schedule":    fmt.Sprintf("%v, warm-up %d", t.o.Schedule.Decay, t.o.Schedule.Warmup),
	}
	if t.o.Schedule.Decay != ConstantRate {
		s["steps"] = fmt.Sprint(t.o.Steps) // the rate depends on it
	}
	return s
}

func describe(o Optimizer) string {
	switch o := o.(type) {
	case *AdamW:
		return fmt.Sprintf("AdamW, rate %v, betas %v %v, epsilon %v, decay %v", o.LR, o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay)
	case *ScheduleFree:
		return fmt.Sprintf("ScheduleFree, rate %v, betas %v %v, epsilon %v, decay %v", o.LR, o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay)
	}
	return fmt.Sprintf("%T", o)
}

// checkpointName is the folder of a step's checkpoint.
func checkpointName(step int) string { return fmt.Sprintf("step-%08d", step) }

var (
	checkpointNames = regexp.MustCompile(`^step-\d{8,}$`)
	// unfinished are the folders that a process left behind which was killed as it wrote a checkpoint.
	unfinished = regexp.MustCompile(`^\.step-\d{8,}-\d+$`)
)

// checkpoints lists the folders of checkpoints in dir, oldest first.
func checkpoints(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && checkpointNames.MatchString(e.Name()) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	slices.SortFunc(out, func(a, b string) int { return stepOf(a) - stepOf(b) })
	return out, nil
}

func stepOf(dir string) int {
	var n int
	fmt.Sscanf(filepath.Base(dir), "step-%d", &n)
	return n
}

// LastCheckpoint is the newest checkpoint that a Trainer wrote to Options.Dir. Where there is none, the error wraps
// fs.ErrNotExist.
func LastCheckpoint(dir string) (string, error) {
	all, err := checkpoints(dir)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", fmt.Errorf("train: no checkpoint in %s: %w", dir, fs.ErrNotExist)
	}
	return all[len(all)-1], nil
}

// pruneCheckpoints removes all but the last keep checkpoints, and unfinished ones.
func pruneCheckpoints(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	for _, e := range entries {
		if unfinished.MatchString(e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("train: %w", err)
			}
		}
	}
	all, err := checkpoints(dir)
	if err != nil {
		return err
	}
	for len(all) > keep {
		// Without its name first: a checkpoint that has one is whole.
		dying := filepath.Join(dir, "."+filepath.Base(all[0])+"-0")
		if err := os.Rename(all[0], dying); err != nil {
			return fmt.Errorf("train: %w", err)
		}
		if err := os.RemoveAll(dying); err != nil {
			return fmt.Errorf("train: %w", err)
		}
		all = all[1:]
	}
	return nil
}

// Save writes a checkpoint to dir, which must not exist: the model, in a form that encoder.Open reads, and beside it the
// state of training. It gets its name when all of it is on the disk. Parameters that are no finite numbers give an error
// that wraps ErrNotFinite and names one.
func (t *Trainer) Save(dir string) (err error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("train: %s: %w", dir, errors.Join(err, fs.ErrExist))
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+"-*")
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	defer func() {
		if rerr := os.RemoveAll(tmp); rerr != nil {
			err = errors.Join(err, fmt.Errorf("train: %w", rerr))
		}
	}()
	whole := filepath.Join(tmp, "checkpoint")
	if err := t.Use(func() error { return t.model.Save(whole) }); err != nil {
		return err
	}
	inner := filepath.Join(whole, stateDir)
	if err := os.Mkdir(inner, 0o755); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	s := state{Version: stateVersion, Step: t.step, Optimizer: t.o.Optimizer.State(), Taken: t.sampler.taken, Settings: t.settings()}
	for i := range t.sampler.sources {
		src := &t.sampler.sources[i]
		s.Sources = append(s.Sources, sourceState{src.Name, t.sampler.content[i]})
	}
	b, err := json.MarshalIndent(&s, "", "  ")
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if err := writeFile(filepath.Join(inner, "state.json"), func(w io.Writer) error { _, err := w.Write(append(b, '\n')); return err }); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(inner, "state.safetensors"), func(w io.Writer) error { return t.writeArrays(w, s.Optimizer) }); err != nil {
		return err
	}
	var disk vfs.OS
	if err := errors.Join(disk.SyncDir(inner), disk.SyncDir(whole)); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if err := os.Rename(whole, dir); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if err := disk.SyncDir(parent); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// Use calls f while the model has the values that are to be used, which are not those in training with a schedule-free
// optimizer: to save the model alone, say, or a delta pack. Parameters that are no finite numbers give ErrNotFinite.
func (t *Trainer) Use(f func() error) error {
	if err := finiteParams(t.params); err != nil {
		return fmt.Errorf("train: model of step %d: %w", t.step, err)
	}
	restore, err := t.o.Optimizer.Evaluated(t.params)
	if err != nil {
		return err
	}
	defer restore()
	return f()
}

// array is one array of the state's file.
type array struct {
	name   string
	shape  []int
	values []float32
}

// arrays lists parameters and moments.
func (t *Trainer) arrays(o OptimizerState) []array {
	var out []array
	for _, p := range t.params {
		out = append(out, array{"value." + p.Name, p.Shape, p.Value})
	}
	var names []string
	for n, m := range o.Moments {
		if m != nil {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		for i, p := range t.params {
			out = append(out, array{n + "." + p.Name, p.Shape, o.Moments[n][i]})
		}
	}
	return out
}

func (t *Trainer) writeArrays(w io.Writer, o OptimizerState) error {
	all := t.arrays(o)
	specs := make([]checkpoint.Tensor, len(all))
	for i, a := range all {
		specs[i] = checkpoint.Tensor{Name: a.name, DType: checkpoint.F32, Shape: a.shape}
	}
	b := make([]byte, 0, 1<<16)
	return checkpoint.StreamSafeTensors(w, specs, nil, func(i int, w io.Writer) error {
		for part := range slices.Chunk(all[i].values, 1<<14) {
			b = b[:0]
			for _, v := range part {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// Resume continues from a checkpoint that a trainer of the same model, data and settings wrote: the steps to come are bit
// by bit those that would have come. Options.Steps may be another with the constant schedule. On an error, which wraps
// ErrResume, the trainer must not be used further.
func (t *Trainer) Resume(dir string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w from %s: %w", ErrResume, dir, err)
		}
	}()
	b, err := os.ReadFile(filepath.Join(dir, stateDir, "state.json"))
	if err != nil {
		return err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("state.json: %w", err)
	}
	if s.Version != stateVersion {
		return fmt.Errorf("state of version %d, not %d", s.Version, stateVersion)
	}
	if err := t.same(&s); err != nil {
		return err
	}
	f, err := checkpoint.OpenSafeTensors(filepath.Join(dir, stateDir, "state.safetensors"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s.Optimizer.Moments = map[string][][]float32{}
	if s.Optimizer.Step > 0 {
		for n := range t.o.Optimizer.State().Moments {
			s.Optimizer.Moments[n] = zerosLike(t.params)
		}
	}
	all := t.arrays(s.Optimizer)
	if n := len(f.Names()); n != len(all) {
		return fmt.Errorf("state.safetensors has %d arrays, not %d", n, len(all))
	}
	for _, a := range all {
		x, ok := f.Tensor(a.name)
		if !ok || x.DType != checkpoint.F32 || !slices.Equal(x.Shape, a.shape) {
			return fmt.Errorf("state.safetensors has %s of shape %v, not %v", a.name, x.Shape, a.shape)
		}
	}
	for _, a := range all {
		x, _ := f.Tensor(a.name)
		copy(a.values, x.Float32s(nil))
	}
	if err := t.o.Optimizer.SetState(t.params, s.Optimizer); err != nil {
		return err
	}
	t.step, t.sampler.taken = s.Step, s.Taken
	return nil
}

// same compares a state with what this trainer was made of.
func (t *Trainer) same(s *state) error {
	var differ []string
	for name, now := range t.settings() {
		if was := s.Settings[name]; was != now {
			differ = append(differ, fmt.Sprintf("%s was %q and is %q", name, was, now))
		}
	}
	slices.Sort(differ)
	if len(s.Sources) != len(t.sampler.sources) || len(s.Taken) != len(s.Sources) {
		differ = append(differ, fmt.Sprintf("there were %d sources and are %d", len(s.Sources), len(t.sampler.sources)))
	} else {
		for i := range s.Sources {
			if now := t.sampler.content[i]; s.Sources[i].Content != now {
				differ = append(differ, fmt.Sprintf("source %q was %s, %q is %s", s.Sources[i].Name, s.Sources[i].Content, t.sampler.sources[i].Name, now))
			}
			if s.Taken[i] < 0 {
				differ = append(differ, fmt.Sprintf("%d batches of source %q", s.Taken[i], s.Sources[i].Name))
			}
		}
	}
	if s.Step < 0 || s.Step > t.o.Steps {
		differ = append(differ, fmt.Sprintf("step %d of %d", s.Step, t.o.Steps))
	}
	if len(differ) > 0 {
		return errors.New(strings.Join(differ, "; "))
	}
	return nil
}

// finiteParams checks parameters.
func finiteParams(params []*Param) error {
	for _, p := range params {
		for i, v := range p.Value {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("%w: %s is %v at element %d", ErrNotFinite, p.Name, v, i)
			}
		}
	}
	return nil
}

// writeFile writes a new file and waits until it is on the disk.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	b := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(write(b), b.Flush(), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("train: %s: %w", path, err)
	}
	return nil
}
