package desktop

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/pawelmojski/inside/proxy/recording"
)

// forged is a recording whose checksums are right and whose one block holds
// what somebody made up.
func forged(t testing.TB, at time.Duration, plain []byte) []byte {
	t.Helper()
	head, err := line(header)
	must(t, err)
	b, chain := makeBlock(kindEvents, int64(len(head)), at, plain, sha256.Sum256(head))
	end, _ := makeBlock(kindEnd, int64(len(head)+len(b)), at, nil, chain)
	return append(append(head, b...), end...)
}

func TestTimesThatCannotBeAreDamage(t *testing.T) {
	ages := binary.AppendUvarint(nil, 1<<53)
	ages = append(ages, byte(Notice), 0)
	for name, file := range map[string][]byte{
		"an event after ages":          forged(t, 0, ages),
		"many years, little by little": forged(t, longest-time.Second, appendEvent(nil, 2*time.Second, Notice, nil)),
		"a block after ages":           forged(t, longest+time.Second, appendEvent(nil, 0, Notice, nil)),
		"a block before it all":        forged(t, -time.Second, appendEvent(nil, 0, Notice, nil)),
	} {
		_, seq, err := Read(bytes.NewReader(file))
		must(t, err)
		all, err := collect(seq)
		var damage *recording.Damage
		if len(all) > 0 || !errors.Is(err, ErrBlock) && !errors.As(err, &damage) {
			t.Errorf("%s: %d events, %v", name, len(all), err)
		}
	}
}
