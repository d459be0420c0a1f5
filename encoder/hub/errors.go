package hub

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	// ErrName marks names of repositories, revisions or files that could reach outside of the cache, or that the
	// hub does not allow.
	ErrName = errors.New("hub: bad name")
	// ErrNotFound marks repositories, revisions and files that the hub does not have, or does not show without
	// a token, and repositories without a checkpoint.
	ErrNotFound = errors.New("hub: not found")
	// ErrUnauthorized marks repositories that ask for a token, another token, or the acceptance of a licence.
	ErrUnauthorized = errors.New("hub: unauthorized")
	// ErrOffline marks what is not in the cache when the network must not be used.
	ErrOffline = errors.New("hub: not in the cache, and offline")
	// ErrChecksum marks downloads whose content is not what the hub announced. They are deleted.
	ErrChecksum = errors.New("hub: wrong checksum")
	// ErrTooLarge marks files above the limits of Options.
	ErrTooLarge = errors.New("hub: too large")
	// ErrProtocol marks answers that are not those of a hub.
	ErrProtocol = errors.New("hub: unexpected answer")
)

// StatusError is an answer that is not a success. It unwraps to ErrNotFound (404) or ErrUnauthorized (401, 403);
// other codes (429, 500 ...) come after all repetitions.
type StatusError struct {
	URL        string // without the query, which may hold a signature
	Code       int
	Message    string        // what the hub says, if anything
	RetryAfter time.Duration // how long the hub asked to wait, 0 when it did not say
}

// Error implements error.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("hub: %s: %d %s", e.URL, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(" (try again in %v)", e.RetryAfter)
	}
	return s
}

// Unwrap gives the sentinel that fits the code.
func (e *StatusError) Unwrap() error {
	switch e.Code {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrUnauthorized
	}
	return nil
}
