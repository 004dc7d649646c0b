# Lantage. "make demo" shows the main job, "make test" proves it; both set up what they need. Run them as root.

VERSION := 0.1
PREFIX  ?= /usr/local
DESTDIR ?=
GO      ?= go

# One static binary: nothing of the builder's or the client's libraries is in it.
export CGO_ENABLED = 0
# The same for all that is built, so that nothing is compiled twice.
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath
LDFLAGS := -s -w -X main.version=$(VERSION)

GOFUMPT     := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 2000x

# "make lint" runs all of vet; `go test` would run a part of it again.
GOTEST := $(GO) test -vet=off

.PHONY: all build test parts lint unit packages discovery fuzz e2e demo bench exactness lab lab-down setup base install uninstall \
	dist clean

all: build

build:
	$(GO) build -ldflags '$(LDFLAGS)' -o lantage .

# ---- tests -----------------------------------------------------------------------------------------------------

test: setup
	test/lab/own-disk $(MAKE) parts

# The base root is mostly downloaded: that is waited for while the other tests compute. The tests of discovery mostly wait,
# too, but they measure times: what only computes runs beside them, and gives way.
parts:
	@chrt --idle 0 test/lab/base-root >/dev/null & base=$$!; \
	log=$$(mktemp); chrt --idle 0 $(MAKE) packages lint fuzz >$$log 2>&1 & beside=$$!; \
	$(MAKE) discovery; status=$$?; \
	wait $$beside || status=$$?; cat $$log; rm -f $$log; \
	wait $$base && test $$status = 0 && $(MAKE) e2e

# The programs that the tests call.
setup:
	test/setup

# The root of the lab's hosts, with real Portage in it: made once, then cached.
base: setup
	test/lab/base-root >/dev/null

lint:
	@echo "== lint"
	@unformatted=$$($(GOFUMPT) -l .); test -z "$$unformatted" || { echo "gofumpt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	test/vulnerabilities

unit: packages discovery

# The race detector needs cgo. More packages at once than there are cores: some of their tests wait.
packages:
	@echo "== unit tests, with the race detector and the seeds of the fuzz targets"
	CGO_ENABLED=1 $(GOTEST) -race -p 4 $$($(GO) list ./... | grep -v -e /test/ -e /discovery)

# Go prints what these tests found only without a list of packages.
discovery:
	@echo "== discovery, between hosts in network namespaces"
	cd discovery && CGO_ENABLED=1 $(GOTEST) -race

fuzz:
	@echo "== fuzzing, $(FUZZTIME) inputs for each target"
	FUZZTIME=$(FUZZTIME) test/fuzz

# More at once than there are cores: much of it waits.
e2e:
	@echo "== end to end, with real Portage in network namespaces"
	test/lab/own-disk $(GOTEST) -timeout 20m -parallel 4 ./test/...

demo: base build
	$(GO) run ./test/demo

bench: base build
	$(GO) run ./test/bench

# On a client: what the builder makes of these packages is compared with what emerge makes here. The words after the goal
# are atoms. ATOMS="=app-misc/jq-1.7.1" is for those that make would read otherwise, LANTAGE_FLAGS="--builder=tower" for
# lantage's own flags.
ifeq (exactness,$(firstword $(MAKECMDGOALS)))
ATOMS ?= $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
.DEFAULT:
	@:
endif

exactness: export ATOMS := $(ATOMS)
exactness: export LANTAGE_FLAGS := $(LANTAGE_FLAGS)
exactness: build
	@set -f; $(GO) run ./test/exactness ./lantage $$LANTAGE_FLAGS -- $$ATOMS

lab: base build
	$(GO) run ./test/lab/cmd/lab up

lab-down:
	$(GO) run ./test/lab/cmd/lab down

# ---- installing ------------------------------------------------------------------------------------------------

install: build
	install -D -m 0755 lantage $(DESTDIR)$(PREFIX)/bin/lantage
	ln -sf lantage $(DESTDIR)$(PREFIX)/bin/lantaged
	install -D -m 0644 man/lantage.1 $(DESTDIR)$(PREFIX)/share/man/man1/lantage.1
	install -D -m 0644 man/lantaged.8 $(DESTDIR)$(PREFIX)/share/man/man8/lantaged.8
	mkdir -p $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/bin,$(PREFIX)/bin,' portage/app-admin/lantaged/files/lantaged.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/lantaged.service

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/lantage $(DESTDIR)$(PREFIX)/bin/lantaged
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/lantage.1 $(DESTDIR)$(PREFIX)/share/man/man8/lantaged.8
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system/lantaged.service

# The source tarball that the ebuilds want in DISTDIR: what is committed, and the modules, so that no build needs a network.
dist:
	test/dist $(VERSION)

clean:
	rm -rf lantage dist
