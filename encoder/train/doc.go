// Package train fine-tunes late-interaction models.
//
// The differentiable model is a graph of gorgonia's: this package adds operations for ragged batches of token sequences
// (embeddings, dense layers, attention, norms, MaxSim) whose products run on the same kernels as encoding, and gorgonia
// differentiates and runs the graph. Losses are written with gorgonia's own operations.
//
// It is the only package that links gorgonia: programs that only encode and search do not.
package train
