// Package quant turns token vectors into a few bytes each and back: spherical k-means, a residual codec of
// 1, 2, 4 or 8 bits per dimension (or float16 rows), and the codebook file that holds what both need.
//
// A vector x is coded as the number of its nearest centroid c (largest inner product) and, per dimension, a
// small number that picks a level w for the residual x - c. Decoding adds the two and normalises:
//
//	cb, err := quant.Train(ctx, sample, &quant.TrainOptions{NBits: 4})
//	enc, err := cb.Encode(ctx, doc, 0)           // codes, packed residual bits, inverse norms
//	cb.Decode(dst, enc.Codes, enc.Residuals)     // unit vectors in codec space
//	cb.Rotate(q, q, rows)                        // queries move into the same space
//
// Rotate concerns queries only; Encode takes vectors as the model gives them.
//
// Codec space is the input space under a fixed orthogonal rotation, which spreads the energy of the vectors
// evenly over the dimensions, so that one table of levels serves them all. Inner products do not change
// under it, as long as queries are rotated too. Levels are Lloyd-Max (least squared error), learned on
// vectors that k-means did not see, and scaled per centroid. The bits of a row lie exactly as colbert-ai,
// fast-plaid and next-plaid lay them, so their indexes decode with NewCodebook and Decode.
//
// Give TrainOptions.Queries whenever there is an encoder at hand. A sample of query vectors (pieces of a
// hundred passages, encoded as queries, will do) tells the codec in which directions errors count; at equal
// bytes nothing else brings as much recall.
//
// Caveats: a Codebook is immutable and safe for concurrent use; the slices that its accessors return are
// the codebook's own and must not be written to. Whoever scores without Decode must heed Scales. Vectors
// are expected to have unit length; others are coded as they are and decode to unit length. Training is
// deterministic for a seed, sample and options on one instruction set (see kernel.ISA), whatever the number
// of workers.
package quant
