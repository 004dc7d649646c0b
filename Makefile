# Lantage. "make demo" shows the main job, "make test" proves it; both set up what they need. Run them as root.

VERSION := 0.1
PREFIX  ?= /usr/local
DESTDIR ?=
GO      ?= go

# One static binary: nothing of the builder's or the client's libraries is in it.
export CGO_ENABLED = 0
LDFLAGS := -s -w -X main.version=$(VERSION)

GOFUMPT     := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 2000x

.PHONY: all build test lint unit fuzz e2e demo bench lab lab-down setup install uninstall dist clean

all: build

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o lantage .

# ---- tests -----------------------------------------------------------------------------------------------------

test: setup lint unit fuzz e2e

# The programs that the tests call, and the lab's base root with real Portage in it (made once, then cached).
setup:
	test/setup

lint:
	@echo "== lint"
	@unformatted=$$($(GOFUMPT) -l .); test -z "$$unformatted" || { echo "gofumpt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

# The race detector needs cgo.
unit:
	@echo "== unit tests, with the race detector and the seeds of the fuzz targets"
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./... | grep -v /test/)

fuzz:
	@echo "== fuzzing, $(FUZZTIME) inputs for each target"
	FUZZTIME=$(FUZZTIME) test/fuzz

e2e: build
	@echo "== end to end, with real Portage in network namespaces"
	$(GO) test -timeout 15m ./test/...

demo: setup build
	$(GO) run ./test/demo

bench: setup build
	$(GO) run ./test/bench

lab: setup build
	$(GO) run ./test/lab/cmd/lab up

lab-down:
	$(GO) run ./test/lab/cmd/lab down

# ---- installing ------------------------------------------------------------------------------------------------

install: build
	install -D -m 0755 lantage $(DESTDIR)$(PREFIX)/bin/lantage
	ln -sf lantage $(DESTDIR)$(PREFIX)/bin/lantaged
	install -D -m 0644 man/lantage.1 $(DESTDIR)$(PREFIX)/share/man/man1/lantage.1
	install -D -m 0644 man/lantaged.8 $(DESTDIR)$(PREFIX)/share/man/man8/lantaged.8

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/lantage $(DESTDIR)$(PREFIX)/bin/lantaged
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/lantage.1 $(DESTDIR)$(PREFIX)/share/man/man8/lantaged.8

# The source tarball that the ebuilds want in DISTDIR: what is committed, and the modules, so that no build needs a network.
dist:
	test/dist $(VERSION)

clean:
	rm -rf lantage dist
