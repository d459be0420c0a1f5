// Package eval measures rankings against relevance judgements, and reads and writes the files in which test
// collections and runs come: BEIR folders, TREC qrels and TREC runs.
//
//	c, err := eval.ReadBEIR("cranfield")              // corpus.jsonl, queries.jsonl, qrels
//	run := eval.Run{}
//	for _, q := range c.Queries {
//		run[q.ID] = search(q.Text)                    // []eval.Scored
//	}
//	r := eval.Evaluate(c.Qrels, run, nil, eval.NDCG(10), eval.Recall(100), eval.MRR(10))
//	fmt.Println(r)                                    // ndcg@10 0.4022  recall@100 0.7355  mrr@10 0.7723
//
// # Semantics
//
// Values are those of trec_eval, and so of ir_measures and pytrec_eval:
//
//   - A document is relevant if its judgement is at least 1 (see Measure.WithMinRel); documents without
//     a judgement are not relevant.
//   - NDCG takes the judgement itself as gain (linear, not 2^rel-1; negative ones count as 0) and discounts
//     rank i by log2(i+1). The ideal ranking is that of all judged documents of the query.
//   - MAP and Recall divide by the number of all relevant documents, also beyond k; Precision divides by k
//     also where fewer documents were returned.
//   - A mean is over all queries that have judgements. One without results, or without a single relevant
//     document, counts 0; results of queries without judgements are ignored.
//
// Scores are float64 here and float32 in trec_eval, which may see ties where this package sees none.
//
// # Ties
//
// Rankings are sorted before they are measured, by score and, among equal scores, by document id: ascending,
// as golbert's searches return them, unless Options.Ties is TRECTies, which is trec_eval's descending order. (ir_measures takes MRR with a cutoff
// from MS MARCO's script, which sorts as golbert does.)
package eval
