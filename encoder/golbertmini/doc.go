// Package golbertmini is the embedded default model: late interaction in English with nothing to download.
//
//	m, err := golbertmini.Open()
//	defer m.Close()
//	q, err := m.EncodeQuery(ctx, "how do tides work", nil)
//
// The model is all-MiniLM-L6-v2 (Apache-2.0, 6 layers of width 384, English, uncased) with its token outputs
// projected to 128 dimensions. It was not trained for late interaction: the projection is fitted without
// labels, by principal components with half whitening, on 400,000 tokens of web questions, Wikipedia passages,
// health questions and answers, software documentation and code (see mkmodel, which made the file with
// -tokens 400000). Weights are int8 with one scale per row and are widened to float32 at load; the cosine of a token
// vector with that of the original weights is 0.9997 on average. A trained model will take its place under
// the same functions; indexes remember dimension and name, so an index and its model must be kept together.
//
// The settings are those that ranked best on held-out pairs of the fitting texts' kind, as mean nDCG@10 of
// exact MaxSim over four sets (web questions, medical questions, code search, documentation headings):
//
//	128 dimensions, half whitening, no punctuation in documents   .8485   (chosen)
//	no whitening                                                  .8445
//	full whitening                                                .8482
//	with centring                                                 .8489
//	punctuation kept in documents                                 .8467
//	without the vectors of CLS and SEP                            .8406
//	96 dimensions                                                 .8430
//
// Masks and markers, which the backbone never saw in training, do harm: on the same sets an unwhitened
// projection has .8437, .8316 with a marker in queries and .5158 with expansion by MASK tokens. So there are
// none.
//
// Caveats: text beyond 256 tokens is cut off; other languages than English work only as far as they share its
// words.
package golbertmini
