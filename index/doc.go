// Package index keeps the quantised token vectors, texts and metadata of documents on disk, for search by
// package plaid or by anything else that reads segments.
//
// An index is a directory with one writer and any number of readers. Add, Delete and the rest are commits:
// all or nothing, and durable when they return. A Snapshot is one commit, fixed while it is open; writers
// never block it. Opening maps files and checks their structure; the checksum of a 4 KiB block is verified
// when the block is first touched, so that damage is an error that names file and place and never a wrong
// answer. Check verifies everything at once.
//
//	ix, err := index.Create(ctx, dir, &index.Options{Dim: 128})
//	res, err := ix.Add(ctx, docs, &index.AddOptions{Upsert: true})
//	snap, err := ix.Snapshot()
//	defer snap.Close()
//	for _, seg := range snap.Segments() { ... }
//
// Update deletes, adds and replaces in one commit. Every few small commits merge small segments on the way;
// Compact merges all, beside searches and writers, and Merge takes over the documents of other indexes. A
// read-only Index moves to the newest commit by Refresh. Check says what is damaged, Repair makes a new
// index of what is not, and Info tells what is there and what it costs.
//
// Caveats. Slices from Segment.Residuals are mapped memory: read-only, and gone when the snapshot closes.
// The files are immutable and must not be edited or truncated by others while they are mapped. Ordinals
// belong to one segment of one snapshot; ids are what stays. A context that is cancelled during Add leaves
// the index as it was. FORMAT.md in this directory describes every file kind.
package index
