package image

import (
	"cmp"
	"maps"
	"slices"
)

// Chain picks, from images of one client and policy in order of time, those that
// together show what the last of them shows: itself, the newest image that had
// begun when the time came since which it has what changed, and so on to a full
// one. If an image between has expired, the one before it takes its place: what
// had changed only then is shown as it was before.
func Chain(hs []Header) []Header {
	if len(hs) == 0 {
		return nil
	}
	at := len(hs) - 1
	chain := []Header{hs[at]}
	for since := hs[at].Since; since != 0; since = hs[at].Since {
		for at--; at >= 0 && hs[at].Began > since; at-- {
		}
		if at < 0 {
			break
		}
		chain = append(chain, hs[at])
	}
	slices.Reverse(chain)
	return chain
}

// Chains are the chains of the newest image of each policy, from images of one
// client in order of time; that of the newest image comes first.
func Chains(hs []Header) [][]Header {
	own := map[string][]Header{}
	for i := range hs {
		own[hs[i].Policy] = append(own[hs[i].Policy], hs[i])
	}
	var all [][]Header
	for _, policy := range slices.Sorted(maps.Keys(own)) {
		all = append(all, Chain(own[policy]))
	}
	slices.SortStableFunc(all, func(a, b []Header) int { return cmp.Compare(b[len(b)-1].Time, a[len(a)-1].Time) })
	return all
}
