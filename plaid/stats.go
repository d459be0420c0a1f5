package plaid

import (
	"fmt"
	"time"
)

// Stats tells what a search did, for tuning and explanation. For a batch, counts and times are sums over
// its queries. Times are wall times of each stage; in a batch the stages of different queries overlap.
type Stats struct {
	// Queries is the number of queries that were searched (those in error left out).
	Queries int
	// Mode is "plaid", "scan" (stages 2 and 3 skipped) or "exhaustive".
	Mode string
	// NProbe and NDocs are the knobs as used, after defaults, selectivity and widening.
	NProbe, NDocs int
	// Allowed is the number of live documents that the filter lets through.
	Allowed int
	// Centroids counts centroid rows multiplied with the query, ProbedCentroids those whose posting
	// lists were read, Postings the entries read.
	Centroids, ProbedCentroids, Postings int
	// Candidates counts documents entering stage 3 after tombstones and filter, Scored those that stage 4
	// scored, Decoded those of them that were decoded and scored in float32. ScoredTokens counts token
	// vectors over both passes of stage 4.
	Candidates, Scored, Decoded, ScoredTokens int
	// CentroidTime, CandidateTime and InteractionTime are stages 1 to 3, ScoringTime and DecodingTime the
	// two passes of stage 4.
	CentroidTime, CandidateTime, InteractionTime, ScoringTime, DecodingTime time.Duration
}

// String is one line for logs.
func (s Stats) String() string {
	return fmt.Sprintf("%s queries=%d allowed=%d nprobe=%d ndocs=%d centroids=%d probed=%d postings=%d candidates=%d scored=%d decoded=%d tokens=%d centroids=%v candidates=%v interaction=%v scoring=%v decoding=%v",
		s.Mode, s.Queries, s.Allowed, s.NProbe, s.NDocs, s.Centroids, s.ProbedCentroids, s.Postings, s.Candidates,
		s.Scored, s.Decoded, s.ScoredTokens, s.CentroidTime, s.CandidateTime, s.InteractionTime, s.ScoringTime, s.DecodingTime)
}

// add sums the counts of one query into a batch's.
func (s *Stats) add(o *Stats) {
	s.Queries += o.Queries
	s.Mode = o.Mode
	s.NProbe = max(s.NProbe, o.NProbe)
	s.NDocs = max(s.NDocs, o.NDocs)
	s.Allowed = o.Allowed
	s.Centroids += o.Centroids
	s.ProbedCentroids += o.ProbedCentroids
	s.Postings += o.Postings
	s.Candidates += o.Candidates
	s.Scored += o.Scored
	s.Decoded += o.Decoded
	s.ScoredTokens += o.ScoredTokens
	s.CentroidTime += o.CentroidTime
	s.CandidateTime += o.CandidateTime
	s.InteractionTime += o.InteractionTime
	s.ScoringTime += o.ScoringTime
	s.DecodingTime += o.DecodingTime
}
