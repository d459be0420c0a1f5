// Package encoder turns texts into token vectors with a ColBERT checkpoint.
package encoder
