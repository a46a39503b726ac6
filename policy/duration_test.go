package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
)

func TestDurationsArePeoples(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		text    string
		want    time.Duration
		written string
	}{
		{"8h", 8 * time.Hour, "8h"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"14d", 14 * day, "14d"},
		{"1w", 7 * day, "7d"},
		{"2d12h", 60 * time.Hour, "2d12h"},
		{"45s", 45 * time.Second, "45s"},
		{"90m", 90 * time.Minute, "1h30m"},
		{"1w2d3h4m5s", 9*day + 3*time.Hour + 4*time.Minute + 5*time.Second, "9d3h"},
		{"1d59m", day + 59*time.Minute, "1d"},
		{"007h", 7 * time.Hour, "7h"},
		{"0d5m", 5 * time.Minute, "5m"},
		{"106751d", 106751 * day, "106751d"},
	} {
		got, err := policy.ParseDuration(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseDuration(%q) = %s, %v, want %s", c.text, got, err, c.want)
		}
		if written := policy.FormatDuration(got); written != c.written {
			t.Errorf("FormatDuration(%s) = %q, want %q", got, written, c.written)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", -time.Hour: "0s", 999 * time.Millisecond: "0s", time.Minute - 1: "59s", time.Hour - 1: "59m59s",
	} {
		if got := policy.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestAnExactDurationIsReadBackAsItWas(t *testing.T) {
	for text, want := range map[string]string{
		"8h": "8h", "1w": "7d", "1h30m": "1h30m", "1h30m15s": "1h30m15s", "1d1h1s": "25h0m1s", "106751d23h47m16s": "2562047h47m16s",
	} {
		d, err := policy.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		exact := policy.ExactDuration(d)
		if back, err := policy.ParseDuration(exact); exact != want || err != nil || back != d {
			t.Errorf("%s is written %q, want %q, and read back as %s, %v", text, exact, want, back, err)
		}
	}
	if exact := policy.ExactDuration(0); exact != "" {
		t.Errorf("nothing is written %q", exact)
	}
}

func TestBadDurationsNameTheWayOut(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", `"" is not a duration: it is empty, write for example 8h, 1h30m, 14d or 1w`},
		{"8", `"8" is not a duration: it takes whole numbers, each with its unit, write`},
		{"h", "it takes whole numbers, each with its unit"},
		{"-8h", "it takes whole numbers, each with its unit"},
		{"1.5h", "units are w, d, h, m and s in this order"},
		{"1h 30m", "it takes whole numbers, each with its unit"},
		{"1 week", "units are w, d, h, m and s in this order"},
		{"1week", "it takes whole numbers, each with its unit"},
		{"8H", "units are w, d, h, m and s in this order"},
		{"30m1h", "units are w, d, h, m and s in this order"},
		{"1h1h", "units are w, d, h, m and s in this order"},
		{"100ms", "it takes whole numbers, each with its unit"},
		{"permanent", "it takes whole numbers"},
		{"0h", "it must be longer than nothing"},
		{"0w0d", "it must be longer than nothing"},
		{"106752d", "it is too long"},
		{"15250w2d", "it is too long"},
		{"9223372036854775808s", "it is too long"},
		{"99999999999999999999999999999999h", "it is too long"},
		{strings.Repeat("9", 1<<20), "it is too long"},
	} {
		if _, err := policy.ParseDuration(c.text); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 200 {
			t.Errorf("ParseDuration(%.40q): error %.200v, want %s", c.text, err, c.want)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"8h", "1h30m", "14d", "1w", "2d12h", "9223372036854775807s", "0s", "1.5h", "-1h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := policy.ParseDuration(text)
		if err != nil {
			return
		}
		if d <= 0 {
			t.Fatalf("ParseDuration(%q) = %s", text, d)
		}
		// Writing rounds down, and what is written is exact.
		written := policy.FormatDuration(d)
		again, err := policy.ParseDuration(written)
		if err != nil || again > d || policy.FormatDuration(again) != written {
			t.Fatalf("%q is %s, written %q, of which comes %s, %v", text, d, written, again, err)
		}
		if exact, err := policy.ParseDuration(policy.ExactDuration(d)); err != nil || exact != d {
			t.Fatalf("%q is %s, written %q, of which comes %s, %v", text, d, policy.ExactDuration(d), exact, err)
		}
	})
}
