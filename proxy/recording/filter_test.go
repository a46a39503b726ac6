package recording

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func filtered(parts ...string) string {
	var b bytes.Buffer
	f := NewFilter(&b)
	for _, p := range parts {
		if n, err := f.Write([]byte(p)); n != len(p) || err != nil {
			panic(fmt.Sprint(n, err))
		}
	}
	return b.String()
}

// allowed is what may leave the filter, written down once more and in another
// way than in sequences.go.
var allowed = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`[\x08-\x0f\x20-\x7e]`,
	`[^\x00-\x9f]`,
	`\x1b[78DEMHcno|}~]`,
	`\x1b[()*+./-][0-~]`,
	`\x1b#[34568]`,
	`\x1b\[[0-9;]*[@A-IKLMPSXZ\x60abdefgrs]`,
	`\x1b\[[0-9;:]*m`,
	`\x1b\[[0-9]*T`,
	`\x1b\[u`,
	`\x1b\[0*[0-2]?J`,
	`\x1b\[\?0*[0-2]?J`,
	`\x1b\[\?[0-9;]*K`,
	`\x1b\[0*4[hl]`,
	`\x1b\[\?(?:(?:[567]|12|25|4[57]|69|104[789]);)*(?:[567]|12|25|4[57]|69|104[789])[hl]`,
	`\x1b\[[0-9;]*[!]p`,
	`\x1b\[[0-9;]*[ "]q`,
	`\x1b\[[0-9;]*'[}~]`,
	`\x1b\[[0-9;]*\$[z{]`,
}, "|") + `)*$`)

func checkFiltered(t fataler, in, out string) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Fatalf("%q became %q, which is not UTF-8", in, out)
	}
	if !allowed.MatchString(out) {
		t.Fatalf("%q became %q, which is not allowed", in, out)
	}
	if again := filtered(out); again != out {
		t.Fatalf("%q became %q, and filtered again %q", in, out, again)
	}
}

func TestWhatDrawsPassesTheFilter(t *testing.T) {
	for _, s := range []string{
		"plain text\r\n\ttabs\b\b", "zażółć 漢字 🙂 \ufffd", "\x1b[1;31mred\x1b[0m \x1b[38;2;1;2;3m\x1b[4:3m\x1b[38:2::1:2:3m\x1b[m",
		"\x1b[2J\x1b[H\x1b[10;20H\x1b[3A\x1b[B\x1b[5C\x1b[D\x1b[1E\x1b[1F\x1b[7G\x1b[K\x1b[1K\x1b[2K\x1b[?2J\x1b[?1K",
		"\x1b[2;20r\x1b7\x1b8\x1b[s\x1b[u\x1bD\x1bE\x1bM\x1bH\x1bc\x1b[3g\x1b[2I\x1b[2Z",
		"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?47h\x1b[?1047;1048h\x1b[?12;25h\x1b[?5h\x1b[?6l\x1b[?69h\x1b[?45l",
		"\x1b(0lqqk\x1b(B\x1b)0\x0e\x0f\x1b*B\x1b+B\x1b-A\x1bn\x1bo\x1b|", "\x1b#8\x1b#3\x1b#6",
		"\x1b[4@\x1b[4P\x1b[2L\x1b[2M\x1b[2S\x1b[2T\x1b[3X\x1b[4h\x1b[4l\x1b[5b\x1b[5d\x1b[5e\x1b[2a\x1b[2`\x1b[1;1f",
		"\x1b[!p\x1b[2 q\x1b[1\"q\x1b[2'}\x1b[2'~\x1b[1;1;2;2$z", Reset,
	} {
		if got := filtered(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
		checkFiltered(t, s, filtered(s))
	}
}

// dangerous are sequences that must leave nothing of themselves; strings
// between %[1]s … %[2]s are put in all their spellings.
var dangerous = map[string][]string{
	"strings": {
		"]52;c;cm0gLXJmIC8K", "]52;c;?", "]0;title", "]2;title", "]4;1;?", "]7;file://x/", "]8;;http://evil/", "]9;notify",
		"]10;?", "]11;?", "]12;?", "]50;?", "]104", "]110", "]133;A", "]777;notify;a;b", "]1337;File=inline=1:AAAA", "]1337;CopyToClipboard=",
		"]L", "]l", "]P0ff0000", "]R", "P$qm", "P$q\"p", "P+q544e", "P+p786d", "P1$tm", "P0;0|17/17;15/15", "Pq#0;2;0;0;0#0~~", "P=1s", "Pzz",
		"_Gi=1,a=T;AAAA", "_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA", "_anything", "^private", "Xstart of string", "]52;c;\u00e9\u009c",
	},
	"sequences": {
		"[c", "[0c", "[>c", "[>0c", "[=c", "[?1c", "[5n", "[6n", "[?6n", "[?15n", "[?25n", "[?996n", "[x", "[1x", "[>q", "[>0q",
		"[?2026$p", "[4$p", "[1$w", "[2$w", "[1;1;1;1;1;1*y", "[?63;1n", "[11t", "[13t", "[14t", "[15t", "[16t", "[18t", "[19t", "[20t", "[21t",
		"[22;0t", "[23;0t", "[3;0;0t", "[8;50;100t", "[9;1t", "[1t", "[2t", "[5t", "[;9;1$t", "[>0t", "[>1T", "[1;2;3;4;5T",
		"[?9h", "[?1000h", "[?1001h", "[?1002h", "[?1003h", "[?1004h", "[?1005h", "[?1006h", "[?1015h", "[?1016h", "[?2004h", "[?2026h", "[?2027h", "[?2031h", "[?2048h",
		"[?1h", "[?1l", "[?2l", "[?3h", "[?8l", "[?40h", "[?66h", "[?67h", "[?80h", "[?1034h", "[?1035l", "[?1036h", "[?1039h", "[?1042h", "[?1046l", "[?1060h", "[?1061h", "[?9001h",
		"[?1000s", "[?1049s", "[?1000r", "[2h", "[12l", "[20h", "[>4;2m", "[?4m", "[>4n", "[>1u", "[<u", "[=1;1u", "[?u", "[1u", "[>1s",
		"[i", "[4i", "[5i", "[?5i", "[?4i", "[0q", "[1q", "[3J", "[?3J", "[61\"p", "[62;0\"p", "[1;1'z", "['|", "[1'{", "['w", "[1;2;3;4'w",
		"[#{", "[#}", "[#|", "[1#P", "[#R", "[?1;1;0S", "[?1S", "[?5W", "[1;2;3;4$v", "[1+p", "[+T", "[&w", "[1,|", "[>1p", "[>3p", "[ @", "[1 A", "[-1A", "[1<A", "[1?h",
		"[99999b", "[999999999999999999999999A", "[1;99999H", "[=5h", "[>5h", "[<5h", "[1:2A", "[?1:2h", "[??7h", "[>0;1;2;3;4J",
		"=", ">", "Z", "l", "m", "N", "O", "V", "W", "6", "9", "F", "G", "\\", "k", " F", " G", " L", "%@", "%G", "%/I", "#9", "!0", "\"4", "$B", "$)C", "&@", "'x", ",x", "((0",
	},
}

func TestNothingDangerousPassesTheFilter(t *testing.T) {
	count := 0
	check := func(in, want string) {
		t.Helper()
		count++
		got := filtered("before" + in + "after")
		if want = "before" + want + "after"; got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		checkFiltered(t, in, got)
		for i := range in {
			if cut := filtered("before"+in[:i], in[i:]+"after"); cut != got {
				t.Errorf("%q cut at %d became %q", in, i, cut)
			}
		}
	}
	for _, s := range dangerous["strings"] {
		check("\x1b"+s+"\x1b\\", "")
		check("\x1b"+s+"\x18", "")
		check("\x1b"+s+"\x1a", "")
		check("\x1b"+s+"\x1b[31m", "\x1b[31m")
		if s[0] == ']' {
			check("\x1b"+s+"\a", "")
		} else {
			check("\x1b"+s+"\amore\x1b\\", "")
		}
	}
	for _, s := range dangerous["sequences"] {
		check("\x1b"+s, "")
		check("\x1b"+s+"\x1b"+s, "")
		check("\x1b"+s[:1]+"\r"+s[1:], "\r")
	}
	for c := 0x80; c < 0xa0; c++ {
		check(string(rune(c)), "")               // C1 in UTF-8
		check(string([]byte{byte(c)}), "\ufffd") // and as eight bits
		check("\x1b"+string(rune(c))+"[c", "[c")
	}
	for c := 0; c < 0x20; c++ {
		if c >= 0x08 && c <= 0x0f || c == 0x1b {
			continue
		}
		check(string(rune(c)), "")
	}
	if count < 200 {
		t.Errorf("%d payloads", count)
	}
	for in, want := range map[string]string{
		"\x1b[?1000;25;2004h":                      "\x1b[?25h", // the harmless of several modes pass
		"\x1b[?1049;1004h":                         "\x1b[?1049h",
		"\x1b[1\x1b[c\x1b[1m":                      "\x1b[1m",
		"\x1b]0;unfinished":                        "",
		"\x1b[" + strings.Repeat("1;", 100) + "mx": "x",
		"\x1b\x1b\x1b[1m":                          "\x1b[1m",
		"\x1b[3\x7f1m":                             "\x1b[31m",
		"\x7f":                                     "",
		"a\xffb\xe2\x28\xa1c":                      "a\ufffdb\ufffd(\ufffdc",
		"\x1b[\xff31m":                             "\ufffd31m",
	} {
		if got := filtered(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestAStringWithoutAnEndIsBounded(t *testing.T) {
	long := "\x1b]52;c;" + strings.Repeat("A", maxString)
	if got := filtered(long, "visible again"); !strings.HasSuffix(got, "visible again") {
		t.Errorf("%.40q", got)
	}
	long = "\x1bP" + strings.Repeat("\a", maxString)
	if got := filtered(long, "visible again"); !strings.HasSuffix(got, "visible again") {
		t.Errorf("%.40q", got)
	}
}

func TestTheFilterPassesAnErrorOn(t *testing.T) {
	broken := errors.New("broken")
	if _, err := NewFilter(writerFunc(func([]byte) (int, error) { return 0, broken })).Write([]byte("x")); err != broken {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWhereAWriteIsCutMakesNoDifference(t *testing.T) {
	piece := rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{"\x1b", "[", "]", "P", "?", "1049", ";", "h", "l", "m", "\x1b\\", "\a", "\x9b", "\u009b", "(0", "漢", "\xe6\xbc", "\x18", "3", "J", "$", "p", "!", "text"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(piece).Draw(t, "parts")
		in := strings.Join(parts, "")
		out := filtered(in)
		checkFiltered(t, in, out)
		if got := filtered(parts...); got != out {
			t.Fatalf("%q in parts became %q, at once %q", parts, got, out)
		}
	})
}

func FuzzFilter(f *testing.F) {
	for _, s := range dangerous["strings"] {
		f.Add("\x1b"+s+"\x1b\\", 3)
	}
	for _, s := range dangerous["sequences"] {
		f.Add("\x1b"+s, 1)
	}
	f.Fuzz(func(t *testing.T, in string, cut int) {
		out := filtered(in)
		checkFiltered(t, in, out)
		if cut >= 0 && cut < len(in) {
			if got := filtered(in[:cut], in[cut:]); got != out {
				t.Fatalf("%q cut at %d became %q, at once %q", in, cut, got, out)
			}
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	for name, p := range samples(32 << 10) {
		b.Run(name, func(b *testing.B) {
			f := NewFilter(writerFunc(func(p []byte) (int, error) { return len(p), nil }))
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				f.Write(p)
			}
		})
	}
}
