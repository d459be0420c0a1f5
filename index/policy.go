package index

import (
	"slices"

	"github.com/golbert/golbert/quant"
)

// The policy of automatic merging is tiered, like Lucene's. Segments of one codebook fall into tiers by
// their live tokens; a tier holds segments up to mergeFactor times as large as the one below it does. As
// soon as a tier has mergeFactor segments they become one, and if that fills the next tier, it joins in at
// once. So there are fewer than mergeFactor segments in each tier, and a document is copied once per tier in
// its life (more often in the lowest, where it costs next to nothing).
const (
	mergeFactor = 8
	// tierTokens is the size up to which segments are in the lowest tier.
	tierTokens = 4096
	// callTokens bounds what one Add, Update or Delete merges on the way, so that none takes long; what is
	// larger is MaybeCompact's.
	callTokens = 1 << 20
)

// tier gives the tier of a segment of so many live tokens.
func tier(tokens uint64) int {
	t := 0
	for size := uint64(tierTokens); tokens > size; size *= mergeFactor {
		t++
	}
	return t
}

// planTiers says what to merge, given that outputs should not exceed most tokens. A segment that is more than
// half dead counts as if its tier were full: it is copied, alone if need be.
func planTiers(segs []*Segment, most uint64) []merging {
	var plan []merging
	for _, g := range byCodebook(segs) {
		tiers := make(map[int][]*Segment)
		top := -1
		for _, s := range g.segs {
			if s.deadTokens() <= s.live && s.live >= most/2 || s.live > most {
				continue
			}
			t := tier(s.live)
			tiers[t] = append(tiers[t], s)
			top = max(top, t)
		}
		var chosen []*Segment
		sum := uint64(0)
		for t := range top + 1 {
			own := tiers[t]
			half := slices.ContainsFunc(own, func(s *Segment) bool { return s.deadTokens() > s.live })
			full := len(own) >= mergeFactor || sum > 0 && tier(sum) >= t && len(own)+1 >= mergeFactor
			if !full && !half {
				continue
			}
			for _, s := range own {
				if (full || s.deadTokens() > s.live) && sum+s.live <= most {
					chosen = append(chosen, s)
					sum += s.live
				}
			}
		}
		if len(chosen) > 1 || len(chosen) == 1 && chosen[0].deadTokens() > chosen[0].live {
			plan = append(plan, merging{to: g.to, segs: inOrder(chosen)})
		}
	}
	return plan
}

// byCodebook groups segments by the codebook that decodes them, in the order of their first ones.
func byCodebook(segs []*Segment) []merging {
	var groups []merging
	for _, s := range segs {
		i := slices.IndexFunc(groups, func(g merging) bool { return g.to == s.cb })
		if i < 0 {
			i = len(groups)
			groups = append(groups, merging{to: s.cb})
		}
		groups[i].segs = append(groups[i].segs, s)
	}
	return groups
}

func inOrder(segs []*Segment) []*Segment {
	slices.SortFunc(segs, func(a, b *Segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return segs
}

// planAll says what a full compaction merges: everything, but for segments that are large already and have
// no dead. With a codebook to recode to, segments of others go to it.
func planAll(segs []*Segment, most uint64, to *quant.Codebook) []merging {
	groups := byCodebook(segs)
	if to != nil {
		groups = []merging{{to: to, segs: slices.Clone(segs)}}
	}
	var plan []merging
	for _, g := range groups {
		g.segs = slices.DeleteFunc(g.segs, func(s *Segment) bool {
			return s.del == nil && s.live >= most/2 && s.cb == g.to
		})
		if len(g.segs) > 1 || len(g.segs) == 1 && (g.segs[0].del != nil || g.segs[0].cb != g.to) {
			plan = append(plan, g)
		}
	}
	return plan
}
