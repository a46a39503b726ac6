package observer

import (
	"crypto/ed25519"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

var (
	noon   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	person = netip.MustParseAddrPort("10.50.0.2:40000")
	server = netip.MustParseAddrPort("10.40.0.7:22")
)

func hostKey(t testing.TB) ssh.PublicKey {
	t.Helper()
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(make([]byte, 32)).Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// reply is a server's answer in the key exchange, as far as it is in clear.
func reply(message byte, key []byte) []byte {
	body := binary.BigEndian.AppendUint32([]byte{message}, uint32(len(key)))
	body = append(append(body, key...), make([]byte, 120)...)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+5)), 4), append(body, 0, 0, 0, 0)...)
}

func says(fromServer bool, said []byte) Glimpse {
	return Glimpse{Person: person, Server: server, FromServer: fromServer, Protocol: policy.SSH, Said: said}
}

func TestAConversationOfSSHTellsBothVersionsAndTheKeyOfTheServer(t *testing.T) {
	for _, message := range []byte{kexReply, kexGEXReply} {
		o, key := New(), hostKey(t)
		o.See(says(true, []byte("SSH-2.0-OpenSSH_9.2p1 Debian\r\n\x00\x00\x04...")), noon)
		if seen := o.Take(noon); len(seen) != 0 {
			t.Fatalf("before the client has spoken: %+v", seen)
		}
		o.See(says(false, []byte("SSH-2.0-PuTTY_Release_0.78\n")), noon)
		seen := o.Take(noon)
		if len(seen) != 1 || !seen[0].First || seen[0].ServerVersion != "SSH-2.0-OpenSSH_9.2p1 Debian" || seen[0].ClientVersion != "SSH-2.0-PuTTY_Release_0.78" ||
			seen[0].Key != nil || seen[0].Person != person || seen[0].Server != server || seen[0].Protocol != policy.SSH {
			t.Fatalf("%+v", seen)
		}
		if seen = o.Take(noon); len(seen) != 0 {
			t.Errorf("told twice: %+v", seen)
		}
		o.See(says(true, reply(message, key.Marshal())), noon)
		if seen = o.Take(noon); len(seen) != 1 || seen[0].First || string(seen[0].Key.Marshal()) != string(key.Marshal()) {
			t.Errorf("the key: %+v", seen)
		}
		if o.Take(noon.Add(2 * talkTime)); len(o.talks) != 0 {
			t.Errorf("%d conversations are remembered", len(o.talks))
		}
	}
}

func TestAConversationOfRDPTellsTheNameTheClientGives(t *testing.T) {
	o := New()
	hear := func(fromServer bool, said string) {
		o.See(Glimpse{Person: person, Server: server, FromServer: fromServer, Protocol: policy.RDP, Said: []byte(said)}, noon)
	}
	hear(false, "\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=administr\r\n\x01\x00\x08\x00\x0b\x00\x00\x00")
	hear(true, "\x03\x00\x00\x13\x0e\xd0\x00\x00\x124\x00\x02\x1f\x08\x00\x02\x00\x00\x00")
	if seen := o.Take(noon); len(seen) != 1 || seen[0].Login != "administr" || seen[0].ClientVersion != "" || seen[0].Protocol != policy.RDP {
		t.Errorf("%+v", seen)
	}
}

func TestWhatIsNotSaidAsItShouldBeTeachesNothing(t *testing.T) {
	key := hostKey(t).Marshal()
	whole := reply(kexReply, key)
	for name, said := range map[string]Glimpse{
		"a version without an end":     says(true, []byte("SSH-2.0-x")),
		"a version without end":        says(true, []byte("SSH-2.0-"+strings.Repeat("x", 300)+"\n")),
		"a version with an escape":     says(true, []byte("SSH-2.0-\x1b[2J\n")),
		"another protocol":             says(true, []byte("220 mail\r\n")),
		"a key before anybody spoke":   says(true, whole),
		"a key cut short":              says(true, whole[:40]),
		"a key of a person":            says(false, whole),
		"a group where a key would be": says(true, reply(kexReply, make([]byte, 256))),
		"a length beyond everything":   says(true, append([]byte{0xff, 0xff, 0xff, 0xff}, whole[4:]...)),
		"nothing":                      says(true, nil),
	} {
		o := New()
		o.See(said, noon)
		if len(o.talks) != 0 {
			t.Errorf("%s began a conversation", name)
		}
	}
}

func TestNoMoreIsRememberedThanThereIsRoomFor(t *testing.T) {
	o := New()
	for n := range 3 * mostTalks {
		g := says(false, []byte("SSH-2.0-x\n"))
		g.Person = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1)
		o.See(g, noon)
	}
	if len(o.talks) != mostTalks {
		t.Errorf("%d conversations", len(o.talks))
	}
	o.Take(noon.Add(2 * talkTime))
	o.See(says(false, []byte("SSH-2.0-x\n")), noon.Add(2*talkTime))
	if len(o.talks) != 1 {
		t.Error("it does not recover")
	}
}

func FuzzSee(f *testing.F) {
	f.Add([]byte("SSH-2.0-x\r\n"), []byte("SSH-2.0-y\n"), reply(kexReply, hostKey(f).Marshal()))
	f.Add([]byte("\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=a\r\n"), []byte("\x03\x00\x00\x13\x0e\xd0\x00"), []byte{})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		for _, protocol := range []policy.Protocol{policy.SSH, policy.RDP} {
			o := New()
			for i, said := range [][]byte{a, b, c, a, b, c} {
				g := says(i%2 == 1, said)
				g.Protocol = protocol
				o.See(g, noon)
			}
			for _, s := range o.Take(noon) {
				for _, text := range []string{s.ClientVersion, s.ServerVersion, s.Login} {
					if len(text) > longestVersion+1 || !isPrintable(text) {
						t.Errorf("%q", text)
					}
				}
			}
		}
	})
}
