// Package conf holds the configuration file as it is shipped, for the command
// that fills it in: inside setup tells by it whether somebody has changed the
// one on the machine. It reads and means nothing.
package conf

import _ "embed"

// Shipped is inside.toml.
//
//go:embed inside.toml
var Shipped []byte
