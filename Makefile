# Capstan: everything that is built, run and checked starts here. See "make help".

GO        ?= go
BIN       := bin
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -X main.version=$(VERSION)
# The tree that the demo backs up.
DIR       ?= $(shell $(GO) env GOROOT)/src
# How long each fuzz function runs: a few seconds in check, longer by hand.
FUZZTIME  ?= 60s
# Further flags of go test, such as -v.
TESTFLAGS ?=

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)

.DEFAULT_GOAL := help
.PHONY: help build demo test test-devices check lint determinism scenarios validate fuzz fuzz-short bench generate clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/capstan
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/capstan ./cmd/capstan

demo: build ## back up a tree for real, list, restore, compare (DIR=/a/tree for another than Go's own src)
	$(BIN)/capstan demo --dir '$(DIR)'

test: ## install what tests need, run all tests
	@internal/ci/deps.sh
	$(GO) test $(TESTFLAGS) ./...

test-devices: build ## real /dev/nst* and /dev/sg* of a user-mode Linux kernel: tools of others, and Capstan, on its own library and on tgt
	@internal/ci/deps-devices.sh
	CGO_ENABLED=0 $(GO) test -c -tags devices -o $(BIN)/devices.test ./internal/guest
	CAPSTAN_GUEST_KERNEL=$(CURDIR)/.cache/uml CAPSTAN_BINARY=$(CURDIR)/$(BIN)/capstan $(BIN)/devices.test

check: lint determinism scenarios validate fuzz-short ## everything that a change must pass: lint, house rules, race detector, determinism, scenarios, fuzzing
	@internal/ci/deps.sh race
	CGO_ENABLED=1 $(GO) test -race -short -timeout 15m ./...

lint: $(GOLANGCI) ## gofmt, go vet, golangci-lint, and the house's own analyzers
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | grep -v /testdata/ | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags devices ./internal/guest
	$(GOLANGCI) run ./...
	$(GO) run ./internal/lint/cmd/capstan-lint ./...

$(GOLANGCI):
	GOBIN=$(CURDIR)/$(BIN) $(GO) install -trimpath -ldflags '-s -w' github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@

determinism: build ## one seed gives one trace, whatever GOMAXPROCS; another seed another
	internal/ci/determinism.sh $(BIN)/capstan scenarios/first-night.yaml

scenarios: build ## run every scenario and check what it expects; one of them in both worlds, compared
	$(BIN)/capstan test scenarios/*.yaml
	$(BIN)/capstan test scenarios/both-worlds.yaml --world both

validate: build ## compare the simulator with the closed forms of queueing theory: the short form, under a minute of one processor
	$(BIN)/capstan sim validate --short --quiet

fuzz: ## run every fuzz function for FUZZTIME
	internal/ci/fuzz.sh $(FUZZTIME)

fuzz-short:
	internal/ci/fuzz.sh 3s 240

bench: build ## measure beside tar, Bacula and restic, and write the figures into docs/benchmarks.md
	@internal/ci/deps-bench.sh
	PATH="$$PATH:/usr/sbin:$(CURDIR)/.cache/peers/usr/sbin" $(GO) run ./internal/bench -capstan $(BIN)/capstan -out docs/benchmarks.md

generate: ## write the JSON Schemas and docs anew
	$(GO) generate ./scenarios ./cmd/capstan

clean: ## remove what was built
	rm -rf $(BIN) .cache
