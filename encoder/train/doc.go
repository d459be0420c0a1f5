// Package train fine-tunes late-interaction models.
//
// The differentiable model is a graph of gorgonia's: this package adds operations for ragged batches of token sequences
// (embeddings, dense layers, attention, norms, MaxSim) whose products run on the same kernels as encoding, and gorgonia
// differentiates and runs the graph. Losses are written with gorgonia's own operations.
//
// A model is trained by a Trainer, on examples that files of JSON lines hold:
//
//	m, err := train.OpenModel("all-MiniLM-L6-v2-colbert", nil)
//	defer m.Close()
//	for e, err := range train.ReadExamples("pairs.jsonl.zst", nil) { ... } // e.HeldOut(0.02) keeps some for an Evaluation
//	t, err := train.NewTrainer(m, []train.Source{{Name: "pairs", Examples: examples}}, &train.Options{
//		Loss:      train.Sum{{1, train.Contrastive{}}, {1, train.Softmax{}}},
//		Optimizer: &train.AdamW{LR: 2e-5, WeightDecay: 0.01},
//		Schedule:  train.Schedule{Warmup: 100},
//		Steps:     2000, Batch: 32, MicroTokens: 8192, Dir: "runs/a", CheckpointEvery: 500,
//	})
//	report, err := t.Run(ctx) // report.Checkpoint opens with encoder.Open
//
// Losses are Contrastive (in-batch negatives), Softmax (an example's own hard negatives), Distillation (a teacher's scores, by
// the recipe of JaColBERTv2.5) and sums of them; package mine finds hard negatives and asks teachers. Optimizers are AdamW and
// ScheduleFree. The same seed gives the same model, in every bit, whatever the number of goroutines and however often
// training was stopped and resumed from a checkpoint.
//
// It is the only package that links gorgonia: programs that only encode and search do not.
package train
