package channels

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// Audio output has a static channel, and dynamic ones of newer servers. The
// second of those is for UDP only, which is not spoken here.
const (
	SoundName        = "rdpsnd"
	DynamicSoundName = "AUDIO_PLAYBACK_DVC"
)

// MaxSound is the longest message about sound: its length has 16 bits.
const MaxSound = 1<<16 + soundHeader

// Sound lets audio output pass (MS-RDPEA), and nothing else: the server's
// sounds, the client's word that it has played them, what both can do. Sound
// by UDP, past the gate, is negotiated away. It is not recorded. It is a [Tap],
// for the static channel too.
type Sound struct {
	mu   sync.Mutex
	wave int // how long the rest of a wave is, which comes without a header
}

// The messages of MS-RDPEA 2.2.
const (
	soundClose   = 1
	soundWave    = 2
	soundVolume  = 3
	soundPitch   = 4
	soundConfirm = 5
	soundTrain   = 6
	soundFormats = 7
	soundQuality = 12
	soundWave2   = 13

	soundHeader = 4
	soundPort   = soundHeader + 12 // of UDP, in both lists of formats
)

// Limit implements [Tap].
func (s *Sound) Limit() int { return MaxSound }

// Down implements [Tap].
func (s *Sound) Down(msg []byte) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wave > 0 {
		if len(msg) > s.wave {
			return nil, malformed("%d bytes of sound, not %d", len(msg), s.wave)
		}
		s.wave = 0
		return [][]byte{msg}, nil
	}
	kind, length, err := soundHead(msg)
	if err != nil {
		return nil, err
	}
	switch kind {
	case soundWave:
		// The first four bytes of the sound are in here, their place in the rest
		// is empty (2.2.3.3, 2.2.3.4).
		if s.wave = length - 8; s.wave <= 0 {
			return nil, malformed("%d bytes of sound", length)
		}
	case soundFormats:
		return withoutUDP(msg)
	case soundClose, soundVolume, soundPitch, soundTrain, soundWave2:
	default:
		return nil, nil
	}
	return [][]byte{msg}, nil
}

// Up implements [Tap].
func (s *Sound) Up(msg []byte) ([][]byte, error) {
	kind, _, err := soundHead(msg)
	if err != nil {
		return nil, err
	}
	switch kind {
	case soundFormats:
		return withoutUDP(msg)
	case soundConfirm, soundTrain, soundQuality:
		return [][]byte{msg}, nil
	}
	return nil, nil
}

func soundHead(msg []byte) (kind byte, length int, err error) {
	r := wire.Read(msg)
	kind = r.U8()
	r.U8()
	length = int(r.U16())
	return kind, length, r.End("a message about sound")
}

// withoutUDP takes the port away that sound could go to.
func withoutUDP(msg []byte) ([][]byte, error) {
	if len(msg) < soundPort+2 {
		return nil, malformed("a list of formats of sound is cut short")
	}
	msg = bytes.Clone(msg)
	binary.LittleEndian.PutUint16(msg[soundPort:], 0)
	return [][]byte{msg}, nil
}
