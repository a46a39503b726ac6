package gfx

import (
	"errors"
	"image"
	"slices"
	"testing"
	"time"
)

// Short messages that would be hours of work, and fit one transmission many
// times over, are refused within the time of some pictures.
func TestMessagesThatAreMuchWorkAreRefused(t *testing.T) {
	const side = 4096
	every := func(n int, one ...int) []byte {
		b := appendU16(nil, n)
		for range n {
			b = appendU16(b, one...)
		}
		return b
	}
	whole := image.Rect(0, 0, side, side)
	for name, messages := range map[string][]byte{
		"fills":            put(nil, solidFill, append(appendU16(nil, 9, 0x1234, 0x56), every(65535, 0, 0, side, side)...)),
		"copies":           put(nil, surfaceToSurface, append(appendU16(nil, 9, 9, 0, 0, side, side), every(65535, 0, 1)...)),
		"pastes":           put(put(nil, surfaceToCache, appendU16(nil, 9, 0, 0, 0, 0, 1, 0, 0, 1024, 1024)), cacheToSurface, append(appendU16(nil, 1, 9), every(65535, 0, 0)...)),
		"new surfaces":     again(100_000, create(9, side, side)),
		"new desktops":     again(100_000, reset(1024, 1024)),
		"frames":           again(20_000, frame(1, mapped(9, 0, 0))),
		"cached":           again(100_000, put(nil, surfaceToCache, appendU16(nil, 9, 0, 0, 0, 0, 1, 0, 0, 2048, 2048))),
		"pictures":         drawn(9, codecAVC420, whole, picture("", slices.Repeat([]int{0, 0, side / 2, side, side / 2, 0, side, side}, 5000)...)),
		"pictures unknown": again(100_000, drawn(9, codecClear, whole, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := desktop(t)
			if _, err := s.Apply(create(9, side, side)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err := s.Apply(messages[:min(len(messages), MaxMessages)])
			if !errors.Is(err, ErrTooMuch) {
				t.Errorf("%d bytes: %v", len(messages), err)
			}
			if took := time.Since(began); took > 20*time.Second { // with the race detector, on a machine that has other things to do
				t.Errorf("it took %v", took)
			}
		})
	}
}

func again(n int, message []byte) (b []byte) {
	for range min(n, MaxMessages/len(message)) {
		b = append(b, message...)
	}
	return b
}
