// Package delta changes a checkpoint's weights while they are loaded: a folder of differences, a delta pack, is laid
// over the mapped base, which stays as it is.
//
//	c, err := checkpoint.Open("/models/colbert-xm")
//	err = delta.Apply(c, "/packs/maltese", "/packs/law")
//	m, err := encoder.New(c, nil)
//
// One mechanism serves four kinds: sparse differences (Ansell et al., "Composable Sparse Fine-Tuning for
// Cross-Lingual Transfer", ACL 2022), dense ones, LoRA (Hu et al., ICLR 2022: W + s B A), and tensors that replace
// others or are new, such as the bottleneck adapters of a new language in XMOD (Pfeiffer et al., NAACL 2022). Packs
// apply one after the other: later ones see what earlier ones made.
//
// A pack is a folder in golbert's own format (FORMAT.md), or a LoRA adapter as PEFT writes it. Diff makes a pack
// of two checkpoints.
//
// A changed tensor is computed each time it is asked for, in float32: nothing is kept, and tensors that no pack
// names stay mapped.
package delta
