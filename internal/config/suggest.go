package config

import (
	"cmp"
	"slices"
	"strings"
)

// nameBytesMax is far above the longest name; what is longer is compared with nothing.
const nameBytesMax = 200

// nearest returns the name that was probably meant, "" where none is near. Case and
// the choice between dots, dashes and underscores count nothing; beyond that one
// character in four may be wrong.
func nearest(name string, known []string) string {
	if len(name) > nameBytesMax {
		return ""
	}
	plain := plainName(name)
	best, bestDistance := "", max(1, len(plain)/4)+1
	for _, k := range known {
		p := plainName(k)
		if diff := len(p) - len(plain); diff >= bestDistance || -diff >= bestDistance {
			continue
		}
		if d := editDistance(plain, p); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		best = sameWords(plain, known)
	}
	return best
}

func plainName(name string) string {
	return strings.NewReplacer("_", ".", "-", ".").Replace(strings.ToLower(name))
}

// sameWords finds the shortest name that holds every word of the one given.
func sameWords(plain string, known []string) string {
	words := strings.Split(plain, ".")
	if len(words) < 2 {
		return ""
	}
	holds := func(k string) bool {
		have := strings.Split(k, ".")
		return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(have, w) })
	}
	var found []string
	for _, k := range known {
		if holds(k) {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.MinFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
}

// editDistance counts the characters to insert, delete, replace or swap with their
// neighbour to make b of a (optimal string alignment).
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
