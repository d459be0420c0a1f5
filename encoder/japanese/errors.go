package japanese

import "errors"

var (
	// ErrNotFound marks a directory without a compiled MeCab dictionary.
	ErrNotFound = errors.New("japanese: no dictionary")
	// ErrCorrupt marks a file that is not what its name says, or one that contradicts itself or the others.
	ErrCorrupt = errors.New("japanese: malformed dictionary")
	// ErrUnsupported marks a dictionary of another version of MeCab or in another encoding than UTF-8.
	ErrUnsupported = errors.New("japanese: unsupported dictionary")
)
