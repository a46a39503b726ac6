package policy

import "math/bits"

// A sieve says at once that most pairs of a who and a where have no grants. A
// person in twenty groups at a server in ten asks for two hundred pairs, of
// which a few have some: each of the others costs one bit of a table that
// stays in the processor's cache.
type sieve struct {
	bits  []uint64
	shift int
}

// newSieve makes a sieve for so many pairs, with sixteen bits for each: about
// one pair of sixteen that are not there goes through.
func newSieve(pairs int) sieve {
	size := max(bits.Len(uint(16*pairs)), 6) // as a power of two, a word at least
	return sieve{bits: make([]uint64, 1<<(size-6)), shift: 64 - size}
}

// at spreads pairs evenly over the bits (multiplicative hashing, Knuth, The Art
// of Computer Programming, 6.4).
func (s *sieve) at(who, where int32) (word, mask uint64) {
	h := (uint64(who)<<32 | uint64(where)) * 0x9e3779b97f4a7c15 >> s.shift
	return h / 64, 1 << (h % 64)
}

func (s *sieve) add(who, where int32) {
	word, mask := s.at(who, where)
	s.bits[word] |= mask
}

// holds reports whether the pair may have been added; a pair that was always
// has.
func (s *sieve) holds(who, where int32) bool {
	word, mask := s.at(who, where)
	return s.bits[word]&mask != 0
}
