package encoder

import "fmt"

// ExpansionRule says up to which number of tokens queries are filled with expansion tokens. Counts include CLS, the
// marker and SEP.
type ExpansionRule uint8

const (
	// ExpandToLength fills up to the query length and cuts what is longer (Khattab and Zaharia, SIGIR 2020), or to
	// the checkpoint's own least length.
	ExpandToLength ExpansionRule = iota
	// ExpandDynamic fills up to the next multiple of 32. Where that adds fewer than 8 tokens, exactly 8 are added
	// (Clavié, "JaColBERTv2.5", 2024, section 3.1).
	ExpandDynamic
	// ExpandRerankers is the rule under the same name in AnswerDotAI's rerankers, which differs: 8 tokens are added
	// where the query is at most 8 tokens past a multiple of 32, otherwise it is filled up to the next multiple.
	ExpandRerankers
	// ExpandEight adds exactly 8 tokens, the fixed variant of the JaColBERTv2.5 report's comparison.
	ExpandEight
)

const (
	expansionStep  = 32
	leastExpansion = 8
	openLength     = 8192 // limit of queries under a dynamic rule in models without one
)

func (r ExpansionRule) check(step int) error {
	if r > ExpandEight || step < 0 || step > openLength {
		return fmt.Errorf("options ExpansionRule and ExpansionStep are %d and %d", r, step)
	}
	return nil
}

// filled gives the number of tokens that n become. floor is the number to fill up to with ExpandToLength, and the step
// with the other rules.
func (r ExpansionRule) filled(n, floor int) int {
	next := (n + floor - 1) / floor * floor
	switch r {
	case ExpandDynamic:
		if next-n < leastExpansion {
			return n + leastExpansion
		}
		return next
	case ExpandRerankers:
		if n%floor <= leastExpansion {
			return n + leastExpansion
		}
		return next
	case ExpandEight:
		return n + leastExpansion
	}
	return max(n, floor)
}
