# Inside. `make demo` shows it, `make test` proves it; both install what a
# Debian 12 machine lacks (as root, with Go 1.26 present).

SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BINARIES := bin/insided bin/inside bin/inside-render
STATICCHECK := $(GO) tool -modfile=packaging/tools/go.mod staticcheck
BENCHSTAT := $(GO) tool -modfile=packaging/tools/go.mod benchstat

.PHONY: build web deb demo test vm-test lint race fuzz soak picture bench clean deps $(BINARIES)

build: $(BINARIES)

$(BINARIES):
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./cmd/$(@F)

# The scripts of others that the pages load, by their lock file. The build needs
# none of them: without, the pages have no players.
web:
	packaging/web

# The Debian packages, in bin/.
deb:
	packaging/deb amd64
	packaging/deb arm64
	lintian --fail-on error,warning bin/*.deb

deps:
	packaging/dev/install

demo: deps build
	packaging/dev/demo

# Everything CI runs. A missing tool is a failure here, not a skip.
test: deps web lint race

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	cd vmtests && $(GO) vet ./... && $(GO) tool -modfile=../packaging/tools/go.mod staticcheck ./...

# No caching: the tests stand on the kernel and on servers that Go does not
# see change. The race detector looks at our code and at every library but
# SQLite's C, as translated into Go: there it finds nothing that SQLite's own
# locks do not forbid, and makes each query take ten times as long. GOFLAGS
# says so to the programs that the tests build, too.
race:
	CI=true GOFLAGS="$$GOFLAGS -gcflags=modernc.org/...=-race=false" $(GO) test -race -count=1 -timeout 20m ./...
	cd vmtests && VMTESTS_REQUIRE=1 $(GO) test -race -count=1 -timeout 20m ./...

# The package on whole Debian machines: stories in systemd-nspawn, and on an
# emulated computer with a kernel of its own.
vm-test: deps
	cd vmtests && VMTESTS_REQUIRE=1 $(GO) test -count=1 -timeout 20m ./...

# Inputs of real peers are long; made short, they would take all the time.
FUZZTIME ?= 30s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg || exit 1; \
	  done; done

# What takes minutes: ten million random decisions against the oracle, every
# change of every zone's clocks against Python's zoneinfo, a million damaged
# PDUs of RDP, and for as long as SOAK a database that is damaged again and
# again.
SOAK ?= 30m
soak: deps
	INSIDE_SOAK=$(SOAK) $(GO) test ./cmd/insided -run Damaged -count=1 -timeout 24h -v
	INSIDE_SOAK=1 $(GO) test ./policy -run 'Soak|Zoneinfo' -count=1 -timeout 120m -v
	INSIDE_SOAK=1 $(GO) test ./proxy/rdpentry -run Mutated -count=1 -timeout 6h -v

COUNT ?= 1
# The picture of the README: xfreerdp at a real desktop, while a line of the
# gate's stands over it.
picture: deps
	INSIDE_PICTURE=$(CURDIR)/packaging/doc/desktop.png $(GO) test ./cmd/insided -count=1 -run TestADesktopSessionEndsWithItsGrant

bench: deps
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) -timeout 30m ./... | tee bench.out

clean:
	rm -rf bin bench.out
