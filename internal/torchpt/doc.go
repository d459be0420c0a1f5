// Package torchpt reads the files that torch.save writes (.pt, .bin): a ZIP archive with one pickle and one
// entry per tensor storage, or before torch 1.6 a row of pickles and the storages. Nothing in a file is executed.
// The reader knows the few pickle instructions and the few global names that tensors, containers and plain
// values need; every other one is an error, and there is no switch that loosens this.
//
// What torch.save writes was read off files of torch 2.11; the instructions are those of Python's
// pickletools, protocol 2. CVE-2025-32434 and CVE-2026-24747 are why even torch's own restricted loader is
// not a model to follow here.
package torchpt
