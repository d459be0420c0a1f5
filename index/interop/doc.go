// Package interop reads and writes the index directories of other late-interaction programs, so that an
// existing index can be searched here, and one made here there, without the texts or the model.
//
// Read: colbert-ai (and RAGatouille, which adds texts and ids), fast-plaid (and PyLate, which adds ids) and
// next-plaid. All three code a token vector as golbert does, as the number of a centroid and a few bits per
// dimension, so codes and residuals are taken over byte for byte:
//
//	src, err := interop.Open(ctx, "indexes/my-index", nil)
//	defer src.Close()
//	fmt.Println(src.Format(), src.NumDocs(), src.Notes())
//	res, err := interop.Import(ctx, "my-index.golbert", src, nil)
//
// Written: colbert-ai and fast-plaid directories, by WriteColBERTAI and WriteFastPLAID. Codebooks that golbert
// trains itself have what these programs do not know (a rotation, a scale per centroid); such an index is
// coded anew on the way out, which ExportOptions.Reencode must allow because it loses a little precision.
//
// Reading changes nothing in the source directory, runs no code (pickles are read by a machine that knows
// plain values and tensors only), believes no declared size, and holds one document at a time in memory beside
// the centroids, the ids and a few bytes per centroid. Files are mapped: a program that rewrites them during
// the import, as fast-plaid's update does, can crash the reader, so import from an index at rest.
package interop
