package stories

import (
	"context"
	"encoding/binary"
	"os"
	"path"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	commands["gate"] = gate
	commands["zone"] = zone
	commands["enters"] = enters
}

// gate makes the machine a gate before the networks of the server, for stories
// that begin with one: the package is there, set up and started, and it knows
// alice at the client, and the server prod.
func gate(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	script := os.Expand(`
dpkg --force-unsafe-io -i /mnt/inside.deb
inside setup --interface $INTERFACE --protect $PROTECT,$PROTECT6 --other forward --name gate-1 --yes
inside person add alice --ip $CLIENT --ip $CLIENT6
inside server add prod --ip $SERVER`, ts.Getenv)
	out, err := of(ts).machine.Command(ctx, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		ts.Fatalf("%v\n%s", err, out)
	}
}

// zone NAME HH:MM:SS gives the machine a time zone in which it is that time of
// day now, so that a story need not wait for the hours of a schedule.
func zone(ts *testscript.TestScript, neg bool, args []string) {
	there, err := time.Parse(time.TimeOnly, args[1])
	ts.Check(err)
	const day = 24 * 60 * 60
	now := time.Now().UTC()
	offset := there.Hour()*3600 + there.Minute()*60 + there.Second() - now.Hour()*3600 - now.Minute()*60 - now.Second()
	if offset = (offset + day) % day; offset > day/2 {
		offset -= day
	}
	// RFC 9636: no transitions, one kind of time.
	tzif := append([]byte("TZif"), make([]byte, 16)...)
	for _, count := range []uint32{0, 0, 0, 0, 1, 4} {
		tzif = binary.BigEndian.AppendUint32(tzif, count)
	}
	tzif = binary.BigEndian.AppendUint32(tzif, uint32(int32(offset)))
	tzif = append(tzif, 0, 0)
	tzif = append(tzif, "LMT\x00"...)
	file := path.Join("/usr/share/zoneinfo", args[0])
	ts.Check(of(ts).machine.Command(context.Background(), "mkdir", "-p", path.Dir(file)).Run())
	ts.Check(of(ts).machine.Write(file, string(tzif)))
}

// enters LOGIN@ADDRESS is the person who tries again until the gate lets them
// in.
func enters(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	for {
		out, err := of(ts).sshCommand(ctx, args[0], "true").CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("still %v after %s: %s", err, longest, out)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
