package checkpoint

import "encoding/json"

// Config is a backbone's config.json. The named fields are those that most architectures share; Raw holds
// the whole object for the others. A zero means that the file does not say.
type Config struct {
	ModelType             string   // "bert", "xlm-roberta", "modernbert" ...
	Architectures         []string // "BertModel", "HF_ColBERT" ...
	VocabSize             int
	HiddenSize            int
	NumLayers             int
	NumHeads              int
	IntermediateSize      int
	HiddenAct             string // "gelu" is the exact erf form
	LayerNormEps          float64
	MaxPositions          int
	TypeVocabSize         int
	PadTokenID            int
	PositionEmbeddingType string // "absolute" for BERT

	Raw json.RawMessage
}
