// Package maxsim is the leaf of golbert: the token matrix that carries a text's vectors between packages,
// and exact late-interaction scoring over it.
//
// A text encoded by a ColBERT model is a Matrix with one unit row per token. Score is the late-interaction
// score of a query and a document, Scores ranks many documents against one query, and Align shows which
// document token each query token matched:
//
//	q, _ := maxsim.FromRows([][]float32{{1, 0}, {0, 1}})
//	d, _ := maxsim.FromRows([][]float32{{0.6, 0.8}, {1, 0}})
//	s, err := maxsim.Score(q, d) // 1 + 0.8
//
// ScoreBatch scores documents that lie end to end in memory, as float32, float16 or bfloat16, on several goroutines.
//
// Caveats: nothing here normalises by itself; scores of vectors that are not unit length are plain inner
// products. Sums run in a fixed order on one machine, but machines with different vector units may differ
// in the last bits.
package maxsim
