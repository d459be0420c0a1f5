package index

type state struct {
	man  *manifest
	segs []*Segment
}

func (st *state) release() {}

type segFile struct{}

func (f *segFile) lookup(id string) ([]uint32, error) { panic("todo") }

type manifest struct {
	Docs, Tokens uint64
	Dim          int
	Generation   uint64
	Attributes   map[string]string
}

func cloneAttributes(m map[string]string) map[string]string { return m }
func checkAttributes(m map[string]string) error             { return nil }
