package simulation

import (
	"hash/fnv"
	"time"
)

// seed is where all draws of a schedule come from. A draw follows from the seed and from what is drawn for, not
// from how many draws there were before. So it does not matter which of two goroutines draws first.
type seed uint64

// of returns the draw for something.
func (s seed) of(what string, numbers ...int64) draw {
	h := fnv.New64a()
	_, _ = h.Write([]byte(what))
	mixed := mix(uint64(s) ^ mix(h.Sum64()))
	for _, n := range numbers {
		mixed = mix(mixed ^ uint64(n)) //nolint:gosec // All bits are meant.
	}

	return draw(mixed)
}

// mix is SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb

	return x ^ x>>31
}

// draw is a source of random numbers for one thing.
type draw uint64

// below is from 0 up to, not including, n.
func (d *draw) below(n int) int {
	*d = draw(mix(uint64(*d)))

	return int(uint64(*d) % uint64(n)) //nolint:gosec // It fits.
}

// once is true in one of n draws.
func (d *draw) once(n int) bool { return d.below(n) == 0 }

// between is a duration, to the nanosecond: no two things are to happen at the same time.
func (d *draw) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.below(int(most-least)))
}
