package train

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const killSteps = 60

// killTrainer is the training that TestKill interrupts, continued where it was.
func killTrainer(t *testing.T, dir string) (*toy, *Trainer) {
	m := newToy(8)
	tr := toyTrainer(t, m, Options{Steps: killSteps, Batch: 16, Dir: dir, CheckpointEvery: 1, Optimizer: &ScheduleFree{LR: 0.02}, Schedule: Schedule{Decay: ConstantRate}})
	if dir == "" {
		return m, tr
	}
	last, err := LastCheckpoint(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return m, tr
	}
	require.NoError(t, err)
	require.NoError(t, tr.Resume(last))
	return m, tr
}

// TestKill kills a training process again and again: every checkpoint that has a name is whole, and in the end there is
// what there would have been without.
func TestKill(t *testing.T) {
	if dir := os.Getenv("GOLBERT_TRAIN_KILL"); dir != "" { // the process to kill
		m, tr := killTrainer(t, dir)
		m.fault = func(int, *toy) (bool, error) { time.Sleep(3 * time.Millisecond); return false, nil }
		_, err := tr.Run(context.Background())
		require.NoError(t, err)
		return
	}
	whole, tr := killTrainer(t, "")
	_, err := tr.Run(context.Background())
	require.NoError(t, err)

	dir := t.TempDir()
	steps := []int{0}
	for i := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "GOLBERT_TRAIN_KILL="+dir)
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(80+37*i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_, tr := killTrainer(t, dir)
		require.GreaterOrEqual(t, tr.Step(), steps[i])
		steps = append(steps, tr.Step())
	}
	t.Log("killed after steps", steps)
	m, tr := killTrainer(t, dir)
	_, err = tr.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, whole.words.Value, m.words.Value)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(entries), 3, "unfinished checkpoints stay")
}
