package checkpoint

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDenseOfIntegers: a quantised projection is refused, not read as the plain numbers.
func TestDenseOfIntegers(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"in_features":2,"out_features":1,"bias":false}`), 0o600))
	require.NoError(t, newFile(filepath.Join(dir, "model.safetensors"), func(w io.Writer) error {
		return WriteSafeTensors(w, []Tensor{{Name: "linear.weight", DType: I8, Shape: []int{1, 2}, Data: []byte{1, 2}}}, nil)
	}))
	_, err := readDense(dir, 2, "identity")
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "linear.weight is I8")
}
