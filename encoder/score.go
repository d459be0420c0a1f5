package encoder

import (
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder/checkpoint"
)

// Score is the score of a query and a document as the model's authors count it (Info.Similarity). All three order
// documents alike for one query, so that search, which ranks by the sum, needs no other:
//
//   - "cosine": the sum over the query's vectors of the best inner product with the document's vectors;
//   - "mean": that sum divided by the number of the query's vectors (BGE-M3);
//   - "l2": the sum of minus the least squared distances, which for unit vectors is 2*sum - 2*vectors (colbert-ai).
//
// Errors are those of maxsim.Score.
func (m *Model) Score(query, document Encoded) (float32, error) {
	s, err := maxsim.Score(query.Vectors, document.Vectors)
	if err != nil {
		return 0, err
	}
	n := float32(query.Vectors.Rows)
	switch m.w.ckpt.Retrieval.Similarity {
	case checkpoint.Mean:
		s /= max(n, 1)
	case checkpoint.L2:
		s = 2*s - 2*n
	}
	return s, nil
}
