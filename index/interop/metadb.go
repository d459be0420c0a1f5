package interop

import "context"

// openDB looks for metadata.db.
func (s *Source) openDB(context.Context) error {
	if exists(s.dir, "metadata.db") {
		s.note("metadata.db holds metadata that was not read")
	}
	return nil
}
