// Package checkpoint reads model directories: the weights, the configuration, the tokenizer, and the retrieval settings
// that tell how texts become token vectors. It makes new ones as well: AverageDirs the mean of several, Trim one without
// the tokens that texts do not need, Save one that package delta changed.
//
// The layouts: a plain Hugging Face directory has a backbone only: no markers, no projection, no query expansion. A
// PyLate directory lists its modules in modules.json and keeps projections in folders such as 1_Dense.
// sentence-transformers' MultiVectorEncoder does the same with modules of its own, and has prompts for
// markers. A Stanford (colbert-ai) directory carries artifact.metadata and the projection linear.weight beside the
// backbone's weights. XTR is a T5 encoder with 2_Dense, BGE-M3 has colbert_linear.pt. A file that asks for something
// else gives ErrUnsupported with its name; nothing is ignored that would change a vector.
//
//	c, err := checkpoint.Open("/models/colbertv2.0")
//	defer c.Close()
//	w, ok := c.Tensors.Tensor(c.Prefix + "embeddings.word_embeddings.weight")
//	rows := w.Float32s(nil)
//
// Weight files are mapped, not read: opening a checkpoint touches their headers only. A Tensor's Data is that
// mapped memory and is valid until Close. Everything in these files is checked before use: a hostile or
// truncated file gives ErrCorrupt with the file and the field, never a panic or a large allocation.
//
// Weights are safetensors, in one file or several, or what torch.save writes (pytorch_model.bin). Pickles are not
// run: only what tensors need is understood, and a file that mentions any other function or class is refused.
//
// Caveat: files must not be changed while they are mapped.
package checkpoint
