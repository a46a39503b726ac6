package main

import (
	"bufio"
	"context"
	"strconv"
	"strings"
)

// numbers are the daemon's metrics as Prometheus reads them, by name and
// labels.
func (h *house) numbers() map[string]float64 {
	h.t.Helper()
	if h.meter == nil {
		h.meter = h.api()
	}
	body, err := h.meter.Metrics(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	defer body.Close()
	numbers := map[string]float64{}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if numbers[line[:at]], err = strconv.ParseFloat(line[at+1:], 64); err != nil {
			h.t.Fatalf("metrics: %q: %v", line, err)
		}
	}
	if err := lines.Err(); err != nil {
		h.t.Fatal(err)
	}
	return numbers
}
