package delta_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/delta"
)

const xmod = "../testdata/layouts/stanford_xmod"

func openXMOD(t *testing.T, dir string, packs ...string) *encoder.Model {
	t.Helper()
	c, err := checkpoint.Open(dir)
	require.NoError(t, err)
	require.NoError(t, delta.Apply(c, packs...))
	m, err := encoder.New(c, nil)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func encode(t *testing.T, m *encoder.Model, lang string) []float32 {
	t.Helper()
	e, err := m.EncodeDocuments(t.Context(), []string{"Which planet is red? The moon."}, &encoder.TextOptions{Language: lang})
	require.NoError(t, err)
	return e[0].Vectors.Data
}

// TestNewLanguage adds a language to an XMOD model: its adapters are those of another one, so its vectors are that
// one's, and no bit of the other languages' changes.
func TestNewLanguage(t *testing.T) {
	c, err := checkpoint.Open(xmod)
	require.NoError(t, err)
	defer c.Close()
	var ts []checkpoint.Tensor
	for _, n := range c.Tensors.Names() {
		if key := strings.TrimPrefix(n, c.Prefix); strings.Contains(key, ".adapter_modules.tr_TR.") {
			x, _ := c.Tensors.Tensor(n)
			x.Name = strings.Replace(key, "tr_TR", "mt_MT", 1) + ".set"
			ts = append(ts, x)
		}
	}
	require.NotEmpty(t, ts)
	pack := t.TempDir()
	var buf bytes.Buffer
	require.NoError(t, checkpoint.WriteSafeTensors(&buf, ts, nil))
	require.NoError(t, os.WriteFile(filepath.Join(pack, "delta.safetensors"), buf.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(pack, "delta.json"), []byte(`{"format":"golbert.delta","version":1,"base":{"model_type":"xmod"},"languages":["mt_MT"]}`), 0o600))

	plain, more := openXMOD(t, xmod), openXMOD(t, xmod, pack)
	_, err = plain.EncodeDocuments(t.Context(), []string{"moon"}, &encoder.TextOptions{Language: "mt"})
	require.ErrorIs(t, err, encoder.ErrLanguage)
	require.Equal(t, encode(t, plain, "tr"), encode(t, more, "mt"))
	require.NotEqual(t, encode(t, more, "de"), encode(t, more, "mt"))
	for _, lang := range []string{"en", "de", "es", "tr", "vi", "zh_CN", "zh_TW", "no"} {
		require.Equal(t, encode(t, plain, lang), encode(t, more, lang), lang)
	}

	// Written as a checkpoint, and made a pack again.
	d, err := checkpoint.Open(xmod)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, delta.Apply(d, pack))
	whole := filepath.Join(t.TempDir(), "whole")
	require.NoError(t, checkpoint.Save(whole, d))
	require.Equal(t, encode(t, more, "mt"), encode(t, openXMOD(t, whole), "mt"))
	w, err := checkpoint.Open(whole)
	require.NoError(t, err)
	defer w.Close()
	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, delta.Diff(again, c, w, nil))
	require.Equal(t, encode(t, more, "mt"), encode(t, openXMOD(t, xmod, again), "mt"))
}
