package torchpt

import (
	"encoding/binary"
	"fmt"
)

// Files of torch before 1.6 are a row of pickles: a magic number, the version of the protocol, what the system is
// like, the value, the keys of its storages in ascending order; and then the storages in that order, each with
// the number of its elements in front (int64). Only after the value is read is it known where the storages are,
// and of which type: so the value's pickle is run twice, first without data.

// legacyMagic is the pickle of 0x1950a86a20f9469cfc6c.
var legacyMagic = []byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")

// legacyVersion is the version that all these files have.
const legacyVersion = 1001

func parseLegacy(b []byte) (any, error) {
	at := len(legacyMagic)
	next := func(what string, load func(string, uint64, DType) ([]byte, error)) (any, *machine, error) {
		m := &machine{in: b[at:], load: load, storages: map[string]*storage{}}
		v, err := m.run()
		if err != nil {
			return nil, nil, fmt.Errorf("%s, byte %d: %w", what, at+m.at, err)
		}
		at += m.at
		return v, m, nil
	}
	version, _, err := next("protocol version", nil)
	if err != nil {
		return nil, err
	}
	if version != int64(legacyVersion) {
		return nil, fmt.Errorf("protocol version %v, only %d is read: %w", version, legacyVersion, ErrFormat)
	}
	v, _, err := next("system information", nil)
	if err != nil {
		return nil, err
	}
	if info, ok := v.(*Dict); !ok || info.Get("little_endian") != true {
		return nil, fmt.Errorf("system information of a file that is not little-endian: %w", ErrFormat)
	}

	start := at
	_, probe, err := next("value", func(string, uint64, DType) ([]byte, error) { return nil, nil })
	if err != nil {
		return nil, err
	}
	v, _, err = next("storage keys", nil)
	if err != nil {
		return nil, err
	}
	keys, ok := v.(List)
	if !ok {
		return nil, fmt.Errorf("storage keys are a %T: %w", v, ErrFormat)
	}
	data := make(map[string][]byte, len(probe.storages))
	for _, k := range keys {
		key, ok := k.(string)
		s := probe.storages[key]
		if !ok || s == nil || data[key] != nil {
			return nil, fmt.Errorf("storage key %.100q is used by no tensor, or comes twice: %w", key, ErrFormat)
		}
		if len(b)-at < 8 {
			return nil, fmt.Errorf("storage %q begins at byte %d, past the end of the file: %w", key, at, ErrFormat)
		}
		n, size := binary.LittleEndian.Uint64(b[at:]), uint64(s.dtype.Size())
		at += 8
		if n > uint64(len(b)-at)/size {
			return nil, fmt.Errorf("storage %q has %d elements of %s, the file ends after %d bytes: %w", key, n, s.dtype, len(b)-at, ErrFormat)
		}
		end := at + int(n*size)
		data[key] = b[at:end:end] // not nil, however short
		at = end
	}
	at = start
	v, _, err = next("value", func(key string, _ uint64, _ DType) ([]byte, error) {
		d, ok := data[key]
		if !ok {
			return nil, fmt.Errorf("storage %q is missing: %w", key, ErrFormat)
		}
		return d, nil
	})
	return v, err
}
