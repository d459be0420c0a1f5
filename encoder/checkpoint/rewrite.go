package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// newDir makes a directory with what fill writes, under its name only when all of it is there. The directory must
// not exist.
func newDir(path string, fill func(tmp string) error) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("checkpoint: %s: %w", path, errors.Join(err, fs.ErrExist))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := fill(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// reopen checks a directory that was written here. The words of Japanese text, which only tokenizing needs, are left to
// those who open it.
func reopen(dir string) error {
	c, err := OpenWith(dir, &Options{Words: wholeText{}})
	if err != nil {
		return fmt.Errorf("checkpoint: the result cannot be opened: %w", err)
	}
	return c.Close()
}

// wholeText takes a text for one word.
type wholeText struct{}

func (wholeText) AppendWords(dst [][2]int32, text []byte) [][2]int32 {
	return append(dst, [2]int32{0, int32(len(text))})
}

// newFile writes a file.
func newFile(path string, write func(w io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer func() {
		if cerr := f.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("checkpoint: %w", cerr)
		}
	}()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := write(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// folders lists the parts of a checkpoint's directory, by path below it: "" and the folders of modules.
func folders(dir string) ([]string, error) {
	out := []string{""}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "" && e.Name()[0] >= '0' && e.Name()[0] <= '9' && strings.Contains(e.Name(), "_") {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// copySettings copies a folder's configuration and tokenizer files, but for those to skip.
func copySettings(dst, src string, skip ...string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	for _, e := range entries {
		name := e.Name()
		ext := filepath.Ext(name)
		if !slices.Contains([]string{".json", ".txt", ".model", ".metadata"}, ext) || strings.HasSuffix(name, ".index.json") ||
			slices.Contains(skip, name) || !exists(filepath.Join(src, name)) {
			continue
		}
		err := newFile(filepath.Join(dst, name), func(w io.Writer) error {
			f, err := os.Open(filepath.Join(src, name)) // perhaps a link into a cache
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, f)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// AverageDirs writes to out, which must not exist, a checkpoint whose tensors are the weighted means of those in
// dirs, see Average; all else is copied from the first. The heads of modules' folders are averaged like the
// backbone. Weights are written as one safetensors file a folder.
func AverageDirs(out string, dirs []string, weights []float64) error {
	if _, err := shares(len(dirs), weights); err != nil {
		return err
	}
	for _, d := range dirs {
		if exists(filepath.Join(d, "colbert_linear.pt")) {
			return fmt.Errorf("%w: averages of colbert_linear.pt", ErrUnsupported)
		}
	}
	return newDir(out, func(tmp string) error {
		parts, err := folders(dirs[0])
		if err != nil {
			return err
		}
		for _, part := range parts {
			if err := copySettings(filepath.Join(tmp, part), filepath.Join(dirs[0], part)); err != nil {
				return err
			}
			if err := averageFolder(filepath.Join(tmp, part), dirs, part, weights); err != nil {
				return err
			}
		}
		return reopen(tmp)
	})
}

// averageFolder averages the weights of one folder, if it has any.
func averageFolder(dst string, dirs []string, part string, weights []float64) (err error) {
	var open []Tensors
	defer func() {
		for _, t := range open {
			err = errors.Join(err, t.Close())
		}
	}()
	for i, d := range dirs {
		t, err := OpenWeights(filepath.Join(d, part))
		found, err := optional(err)
		switch {
		case err != nil:
			return err
		case !found && i == 0:
			return nil // a module without weights, such as Normalize
		case !found:
			return fmt.Errorf("%w: %s has no weights", ErrMismatch, filepath.Join(d, part))
		}
		open = append(open, t)
	}
	return newFile(filepath.Join(dst, "model.safetensors"), func(w io.Writer) error { return Average(w, open, weights) })
}
