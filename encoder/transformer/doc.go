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
// Architectures, by model_type of config.json:
//
//	bert, electra, roberta, xlm-roberta,
//	camembert, xmod                       post-norm, learned positions; XMOD's adapters per language
//	xlm-roberta with rotary positions     jina-colbert-v2
//	modernbert                            ModernBERT, Ettin, mmBERT
//	t5, mt5, umt5                         encoders of T5, mT5, umT5 and ByT5
//	mrt5                                  ByT5 with a delete gate: fewer vectors than tokens (Batch.Kept)
//	llama, mistral, qwen2, qwen3,
//	eurobert ...                          decoders, causal or not as config.json says
//	lfm2                                  short convolutions and attention, looking back or both ways
//	mamba                                 a selective state space
//
// An architecture is one file: its tensor names and its settings. Post-norm encoders share one Forward, the others
// another, in which a layer mixes tokens by attention, a convolution or a state space. Linear layers, norms, token
// tables (float32, float16, bfloat16 or int8 with one scale per row), attention, rotary positions and scratch memory
// are shared. Goldens of transformers hold every architecture to 1e-4
// (encoder/scripts/golden/architectures.py).
//
// Caveats: Forward works on one goroutine, or on as many as Batch.Workers allows and processors are idle; it is better
// to spread batches over cores. It is safe to call concurrently. Token tables of large checkpoints stay in the mapped
// file, so the checkpoint must stay open as long as the Encoder is in use. The memory of one call is about
// 4*(4*Hidden + FFN) bytes per token and is kept for the next call.
package transformer
