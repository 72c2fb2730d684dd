package simulator

// mix is a bijection on 64 bits that scatters neighbours (the finaliser of
// SplitMix64, Steele et al. 2014).
func mix(z uint64) uint64 {
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// unmix is the inverse of mix.
func unmix(z uint64) uint64 {
	z = (z ^ z>>31 ^ z>>62) * 0x319642b2d24d8ec3
	z = (z ^ z>>27 ^ z>>54) * 0x96de1b173f119089
	return z ^ z>>30 ^ z>>60
}

// hash folds several numbers into one.
func hash(vs ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, v := range vs {
		h = mix(h ^ mix(v+0x9e3779b97f4a7c15))
	}
	return h
}

// unit maps 64 random bits to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// splitmix is a rand.Source that can be put into any state at no cost, so that
// one rand.Rand serves every venue and session.
type splitmix struct{ state uint64 }

func (s *splitmix) Uint64() uint64 {
	s.state += 0x9e3779b97f4a7c15
	return mix(s.state)
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// shortID writes v as 11 characters like those of the platform's ids. The
// alphabet ascends, so ids sort as their numbers do.
func shortID(v uint64) string {
	var b [11]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = base62[v%62]
		v /= 62
	}
	return string(b[:])
}

// permutation is a pseudo-random bijection on [0, n) in constant memory: a
// Feistel network on the next even number of bits, walked until it lands inside.
type permutation struct {
	n, seed uint64
	half    uint
}

func newPermutation(n int, seed uint64) permutation {
	p := permutation{n: uint64(n), seed: seed, half: 1}
	for uint64(1)<<(2*p.half) < p.n {
		p.half++
	}
	return p
}

// at returns the image of i, which must be below n.
func (p permutation) at(i int) int {
	v, mask := uint64(i), uint64(1)<<p.half-1
	for {
		l, r := v>>p.half, v&mask
		for round := uint64(0); round < 4; round++ {
			l, r = r, l^(hash(p.seed, round, r)&mask)
		}
		if v = l<<p.half | r; v < p.n {
			return int(v)
		}
	}
}
