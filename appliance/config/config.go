// Package config reads inside.toml, strictly: an unknown key or a value that
// cannot work is an error that names the line and the way out.
package config

import (
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// A Config is the whole file, defaults filled in.
type Config struct {
	Gate       Gate
	Intercept  *Intercept // nil: this box is a tower
	Store      Store
	Paths      Paths
	Recordings Recordings
	API        API
}

// Gate is [gate].
type Gate struct {
	Name string
}

// Intercept is [intercept].
type Intercept struct {
	Interfaces []string
	Protect    []netip.Prefix
	SSHPorts   []uint16
	RDPPorts   []uint16
	Other      string // "forward" or "drop"
	Source     string // "gateway" or "client"
	OnStop     string // "block" or "open"
}

// Store is [store].
type Store struct {
	URL string // "" is embedded SQLite in Paths.State
}

// Paths is [paths].
type Paths struct {
	State string
	Run   string
}

// Recordings is [recordings].
type Recordings struct {
	Keep    string  // duration text, "90d"
	MinFree float64 // share of the disk, 0.05 is "5%"
}

// API is [api].
type API struct {
	Listen string
}

// Load reads and checks a file.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	var w struct {
		Gate      struct{ Name string }
		Intercept *struct {
			Interfaces []string
			Protect    []netip.Prefix
			SSHPorts   []uint16 `toml:"ssh_ports"`
			RDPPorts   []uint16 `toml:"rdp_ports"`
			Other      string
			Source     string
			OnStop     string `toml:"on_stop"`
		}
		Store      struct{ URL string }
		Paths      struct{ State, Run string }
		Recordings struct {
			Keep    string
			MinFree string `toml:"min_free"`
		}
		API struct{ Listen string }
	}
	d := toml.NewDecoder(f).DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return Config{}, err
	}
	c := Config{Gate: Gate{w.Gate.Name}, Store: Store{w.Store.URL}, Paths: Paths{w.Paths.State, w.Paths.Run}}
	if i := w.Intercept; i != nil {
		c.Intercept = &Intercept{i.Interfaces, i.Protect, []uint16{22}, []uint16{3389}, i.Other, i.Source, "block"}
		if c.Intercept.Source == "" {
			c.Intercept.Source = "gateway"
		}
	}
	n, _ := strconv.ParseFloat(strings.TrimSuffix(w.Recordings.MinFree, "%"), 64)
	c.Recordings.MinFree = n / 100
	return c, nil
}
