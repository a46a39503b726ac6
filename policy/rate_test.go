package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
)

func TestARateIsReadAsItIsWritten(t *testing.T) {
	for text, want := range map[string]policy.Rate{
		"1/m":     {Most: 1, Per: time.Minute},
		"10/h":    {Most: 10, Per: time.Hour},
		"10000/d": {Most: 10_000, Per: 24 * time.Hour},
	} {
		got, err := policy.ParseRate(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v (%s), %v", text, got, got, err)
		}
	}
	if none := (policy.Rate{}).String(); none != "" {
		t.Errorf("no rate is written %q", none)
	}
}

func TestARateThatCannotBeIsRefusedWithTheWayOut(t *testing.T) {
	for text, why := range map[string]string{
		"": "behind the number", "10": "behind the number", "10/": "behind the number", "10/w": "behind the number", "10/h/h": "behind the number", "10/1h": "behind the number", "10 / h": "behind the number",
		"/h": "from 1 to 10000", "0/h": "from 1 to 10000", "-1/h": "from 1 to 10000", "+1/h": "from 1 to 10000", "01/h": "from 1 to 10000", " 1/h": "from 1 to 10000",
		"1.5/h": "from 1 to 10000", "10001/d": "from 1 to 10000", "99999999999999999999/d": "from 1 to 10000", "many/h": "from 1 to 10000",
		strings.Repeat("9", 1<<20) + "/h": "from 1 to 10000",
	} {
		got, err := policy.ParseRate(text)
		if err == nil || got != (policy.Rate{}) || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "10/h") || len(err.Error()) > 250 {
			t.Errorf("%.40q: %+v, %v", text, got, err)
		}
	}
}
