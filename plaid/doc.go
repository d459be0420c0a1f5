// Package plaid searches an index by late interaction: it finds the documents whose token vectors answer
// a query's token vectors best, with the four stages of PLAID (Santhanam et al., "PLAID: An Efficient
// Engine for Late Interaction Retrieval", CIKM 2022, section 4), and exhaustively where that is cheaper.
//
//	s := plaid.NewSearcher(snapshot)
//	hits, err := s.Search(ctx, queryVectors, 10, nil)
//
// The stages, for a query of n tokens and a codebook of K centroids:
//
//  1. Centroid scores (section 4.1): one matrix product of all centroids with the query tokens, of bytes where the
//     processor is fast at them, in blocks that are looked through for each token's best centroids while they lie in cache.
//  2. Candidates (section 4.1): the posting lists of every token's NProbe best centroids, less tombstones and what
//     Options.Filter excludes.
//  3. Centroid interaction (section 4.2), carried by the same lists: every document has a row of bytes, one per query
//     token, and reading the list of a centroid raises the rows of its documents to the centroid's own row, which has
//     its scores for all tokens as steps above what a token is credited without a list of its own. Sums of the
//     rows rank the documents, and the best NDocs go on. Documents' codes are not read, so the work grows with the
//     lists and not with the candidates.
//  4. MaxSim over the decompressed vectors, normalised again (section 4.4), in two passes: the shortlist in the
//     compressed domain with integer arithmetic, best sums first and, with Options.Patience, only as long as something is
//     to be expected; then, decoded and in float32, those that may be among the hits that are to have exact scores, and of
//     those the tokens that may have a query token's largest score.
//
// Stages 1 to 3 run per codebook, so segments of one index may have different ones; stage 4 is comparable
// across codebooks because decoding restores the vectors. Every stage shares the work of one query over
// Options.Workers goroutines. Small collections and narrow filters skip stages that would not pay: see
// Options for the rules. Options.Stats tells what happened.
//
// Results are ordered by score, ties by external id, and are the same whatever the number of workers and
// whether a query comes alone or in a batch. min(k, live documents that the filter allows) hits are
// always returned: the shortlists are never shorter than k, and probing widens until there are enough.
//
// Caveats: a Searcher reads a Snapshot that it does not own; keep the snapshot open while searching and as
// long as Hit.Segment is used. Scores are inner products with normalised document vectors; the query is
// taken as it is. A document without tokens is never returned. Scores may differ in the last bits between
// machines with different vector units.
package plaid
