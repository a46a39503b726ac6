package main

import (
	"io/fs"
	"os"
	"testing"
)

func TestWhatKeepsAModuleFromLoadingIsNamed(t *testing.T) {
	present := func(name string) (os.FileInfo, error) {
		if name == "/lib/modules/6/nft_tproxy.ko.xz" || name == "/lib/modules/6/nf_tables.ko.xz" {
			return nil, nil
		}
		return nil, fs.ErrNotExist
	}
	for _, tt := range []struct{ name, plan, want string }{
		{"built in", "builtin nf_tables", ""},
		{"there, with options", "insmod /lib/modules/6/nf_tables.ko.xz \ninsmod /lib/modules/6/nft_tproxy.ko.xz debug=1", ""},
		{"its file is gone", "insmod /lib/modules/6/nf_tables.ko.xz\ninsmod /lib/modules/6/gone.ko.xz", "/lib/modules/6/gone.ko.xz is not there"},
		{"something else is done", "insmod /lib/modules/6/nf_tables.ko.xz\ninstall /bin/false", "`/bin/false` is done in its place, says a file in /etc/modprobe.d"},
		{"nothing to be done", "", ""},
	} {
		if got := obstacleOf(tt.plan, present); got != tt.want {
			t.Errorf("%s: %q, and not %q", tt.name, got, tt.want)
		}
	}
}
