package plaid

import (
	"math"
	"runtime"

	"github.com/golbert/golbert/index"
)

const (
	// scanDocs is the size of collection up to which stage 4 scores everything by default.
	scanDocs = 2000
	// minRanks is the least number of a token's best centroids that are collected, and creditGap the way from the
	// last of them down to the token's credit, in lengths of the way from the best; see collectProbes.
	minRanks  = 8
	creditGap = .6
	// maxSelectivity bounds how far a filter multiplies NProbe: the probes are needed to find allowed
	// documents, but past this the lists of one token overlap with the other tokens' anyway.
	maxSelectivity = 64
)

// mode is the way a search takes.
type mode uint8

const (
	modeProbe      mode = iota // all four stages
	modeScan                   // stages 1 and 4: every allowed document passes
	modeExhaustive             // everything is decoded
)

// String is used in Stats.
func (m mode) String() string {
	return [...]string{"plaid", "scan", "exhaustive"}[m]
}

// knobs are the options after defaults.
type knobs struct {
	k, nprobe int
	exact     int // of the k hits
	patience  float32
	threshold float32
	mode      mode
	workers   int
	shortlist []int // per codebook: documents that pass to stage 4
}

// defaultNDocs is the shortlist's length for k hits out of n documents with codebooks of the usual size. Measured
// on 20,000 real passages at 4 bits, with vectors of a model that was not trained for late interaction (so that
// centroids say little) and 32 probes: searches with shortlists of 512, 1,024, 1,536 and 2,536 find .867, .894, .910 and .925
// of the top 10 by the vectors before coding; more than about .95 coding does not leave. The need grows slowly with n.
func defaultNDocs(k, n int) float64 {
	d := 1200 * math.Cbrt(float64(k)/10) * math.Sqrt(math.Sqrt(float64(n)/12000))
	return max(min(d, 1<<16), 512, 4*float64(k))
}

// defaultPatience goes with shortlists of twice that length. With 2, 2.5, 2.9 and 3.25 a search for 10 of those passages
// scores 420, 780, 1,140 and 1,460 documents in the mean, fewer in the median, and holds .865, .907, .919 and .926 of the
// top 10; shortlists without it that hold as much have 510, 1,380, 1,920 and more than 2,100. With 2.75, a search of 35,000
// synthetic documents misses 3 in 100.
const defaultPatience = 2.9

// coarseness says how much longer the shortlist must be than usual because a codebook has few centroids
// for its tokens, and so tells documents apart badly: with half of the usual number 1.4 to 2 times.
func coarseness(tokens uint64, centroids int) float64 {
	usual := 16 * math.Sqrt(float64(tokens)) // see quant.NumCentroids
	return min(max(math.Sqrt(usual/float64(centroids)), 1), 4)
}

// defaultNProbe is the number of centroids per query token. PLAID's own table (section 5.1 of the paper) has
// 1, 2 and 4 for k = 10, 100 and 1000. Here posting lists carry the scores of stage 3 and are cheap: 64 probes read 92,000 postings
// of 20,000 real passages in a twentieth of the time that scoring 1,000 documents takes, and with as many documents find .897 of
// the true top 10 where 8 probes find .872 and 32 find .894; of 100,000 synthetic documents, 32 and 64 find .877 and .898 with
// 3,000 and 4,100 documents in equal time. They grow with the square root of larger codebooks, whose cells are smaller: of a
// million synthetic documents and 65,536 centroids, 32 find .76 with 4,400 documents, 64 find .86 with 4,200.
func defaultNProbe(k, centroids int) int {
	n := 64
	if k > 100 {
		n = 128
	}
	return int(float64(n) * math.Sqrt(max(float64(centroids)/(16<<10), 1)))
}

// resolve completes the options for a search of s; allowed counts the documents that the filter allows, per
// codebook, and list is where the shortlists' lengths go.
func (s *Searcher) resolve(k int, o *Options, allowed, list []int) knobs {
	if o == nil {
		o = &Options{}
	}
	total := 0
	for _, n := range allowed {
		total += n
	}
	kn := knobs{shortlist: list, k: k, exact: k, nprobe: o.NProbe, patience: o.Patience, threshold: o.CentroidThreshold, workers: o.Workers}
	if o.Exact > 0 {
		kn.exact = min(o.Exact, k)
	}
	if kn.workers == 0 {
		kn.workers = runtime.GOMAXPROCS(0)
	}
	if kn.nprobe == 0 {
		kn.nprobe = defaultNProbe(k, s.centroids)
	}
	auto := o.NProbe == 0 && o.NDocs == 0 && o.Patience == 0
	docs := o.NDocs
	if t := s.tuning(k); auto && t != nil && (total == s.live || total > scanDocs) {
		auto = false
		kn.nprobe, kn.patience = t.NProbe, t.Patience
		docs = t.NDocs
		if grown := float64(s.live) / float64(t.Docs); grown > 1 { // as defaultNDocs grows
			docs = int(min(float64(docs)*math.Sqrt(math.Sqrt(grown)), math.MaxInt32))
		}
	}
	if total > 0 && total < s.live {
		kn.nprobe = saturatingMul(kn.nprobe, min((s.live+total-1)/total, maxSelectivity))
	}
	switch {
	case o.Exhaustive, k > total/2, auto && total <= rescoreDocs(k):
		kn.mode = modeExhaustive
		return kn
	case auto && total <= scanDocs:
		kn.mode = modeScan
	}
	if auto && kn.mode == modeProbe && s.device == nil {
		kn.patience = defaultPatience
	}
	for i, n := range allowed {
		d := docs
		switch {
		case kn.mode == modeScan:
			d = n
		case d == 0:
			d = int(defaultNDocs(k, n) * s.spaces[i].coarseness)
			if kn.patience > 0 {
				d = saturatingMul(d, 2)
			}
		}
		kn.shortlist = append(kn.shortlist, max(d, k))
	}
	return kn
}

// tuning gives the stored knobs for k hits: those for the least number of hits that is not below k.
func (s *Searcher) tuning(k int) *index.Tuning {
	for i := range s.tuned {
		if s.tuned[i].K >= k {
			return &s.tuned[i]
		}
	}
	return nil
}

func saturatingMul(a, b int) int {
	if a > math.MaxInt32/max(b, 1) {
		return math.MaxInt32
	}
	return a * b
}
