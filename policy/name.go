package policy

import "net/netip"

// PersonName makes the unique name of a person from what an admin typed:
// "John Doe" becomes "john.doe". It fails on what no name can be made of.
func PersonName(typed string) (string, error) { return typed, nil }

// CheckName reports whether name can name a server or group: 1 to 63 of
// letters, digits, dot, dash and underscore, beginning with a letter or digit.
func CheckName(name string) error { return nil }

// ParsePrefix reads "10.0.0.7", "10.0.0.0/8", "fd00::1" or "fd00::/64". Host
// bits beyond the length are an error that names the prefix that was meant.
func ParsePrefix(s string) (netip.Prefix, error) { return netip.ParsePrefix(s) }
