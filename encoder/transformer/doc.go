// Package transformer runs the forward pass of transformer encoders: in float32, or with bfloat16 or int8
// matrix products (Options.Precision).
//
// An Encoder takes a Batch of token sequences laid end to end, without padding, and writes one hidden vector
// per token:
//
//	enc, err := transformer.New(ckpt, nil)
//	b := &transformer.Batch{IDs: ids, Lens: []int{len(ids)}}
//	hidden := make([]float32, len(ids)*enc.Shape().Hidden)
//	err = enc.Forward(ctx, b, hidden)
//
// All matrix products run over the sum of the batch's tokens on weights that are packed once at load;
// attention runs per sequence and head. The attention mask is on keys only: a token that is not attended to
// (a query expansion mask) still gets an output, which is why it cannot be dropped from the batch.
//
// An architecture is one file: its tensor names, its weights and its Forward. Linear layers, norms, token
// tables (float32, float16, bfloat16 or int8 with one scale per row), attention and scratch memory are shared.
//
// Caveats: Forward works on one goroutine, or on as many as Batch.Workers allows and processors are idle; it is better
// to spread batches over cores. It is safe to call concurrently. Token tables of large checkpoints stay in the mapped file, so the checkpoint must stay open
// as long as the Encoder is in use. The memory of one call is about 4*(4*Hidden + FFN) bytes per token and
// is kept for the next call.
package transformer
