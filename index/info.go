package index

// Info describes an index for people: what is in it and what it costs.
type Info struct {
	Generation    uint64            `json:"generation"`
	Dim           int               `json:"dim"`
	NBits         int               `json:"nbits"`
	Documents     int               `json:"documents"` // live
	Deleted       int               `json:"deleted"`   // still on disk
	Tokens        uint64            `json:"tokens"`    // live
	Bytes         BytesByPart       `json:"bytes"`
	BytesPerToken float64           `json:"bytes_per_token"` // everything but text, over stored tokens
	Segments      []SegmentInfo     `json:"segments"`
	Codebooks     []CodebookInfo    `json:"codebooks"`
	Attributes    map[string]string `json:"attributes,omitempty"`
}

// BytesByPart breaks the size of the index down.
type BytesByPart struct {
	Residuals int64 `json:"residuals"`
	Codes     int64 `json:"codes"` // per document distinct codes and each token's place among them
	Norms     int64 `json:"norms"`
	Offsets   int64 `json:"offsets"` // token and code offsets per document
	Postings  int64 `json:"postings"`
	IDs       int64 `json:"ids"`
	Metadata  int64 `json:"metadata"`
	Text      int64 `json:"text"`
	Codebooks int64 `json:"codebooks"`
	Deletions int64 `json:"deletions"`
	Other     int64 `json:"other"` // headers, checksums, padding, manifest
	Total     int64 `json:"total"`
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Name         string  `json:"name"`
	Documents    int     `json:"documents"` // deleted ones included
	Deleted      int     `json:"deleted"`
	Tokens       uint64  `json:"tokens"`
	Bytes        int64   `json:"bytes"`
	Codebook     string  `json:"codebook"`
	MeanResidual float32 `json:"mean_residual"` // mean L2 norm of what the centroids leave over
}

// CodebookInfo describes one codebook.
type CodebookInfo struct {
	ID           string  `json:"id"`
	Centroids    int     `json:"centroids"`
	NBits        int     `json:"nbits"`
	TrainTokens  uint64  `json:"train_tokens"`
	MeanResidual float32 `json:"mean_residual"`
	Bytes        int64   `json:"bytes"`
}
