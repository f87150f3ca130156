# "make" lists the targets. They need Go; PostgreSQL is found on the machine or downloaded.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory

BENCHTIME ?= 2s
FUZZTIME  ?= 10s
FUZZ      ?= .

VERSION ?= $(shell git describe --tags --always --dirty)

# All modules but those of the tools.
MODULES := . $(patsubst %/go.mod,%,$(wildcard */go.mod console/*/go.mod idemsql/*/go.mod internal/*/go.mod))

SQLC   := CGO_ENABLED=0 go tool -modfile=tools/sqlc/go.mod sqlc
LINT   := go tool -modfile="$(CURDIR)/tools/lint/go.mod" golangci-lint
WITHPG := go run ./internal/withpg

# The go directive's release; the go command downloads it.
OLDEST_GO = go$(shell go list -m -f '{{.GoVersion}}')

# The race detector needs a C compiler. Without one go says that cgo is off.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: ## Show what the guard does (BROKER=kafka for Apache Kafka; ARGS=--help for more)
	@echo 'building the demo' >&2
	@go build -C examples -o "$(CURDIR)/bin/demo" ./demo
	@bin/demo $(ARGS)

.PHONY: test
test: ## Run the tests of all modules, with the race detector (TESTFLAGS="-shuffle=on -count=3")
	@$(if $(RACE),,echo 'make test: the race detector is off, because it needs a C compiler' >&2)
	$(WITHPG) bash -c 'failed=0; for module in $(MODULES); do go test -C $$module $(RACE) -timeout=20m $(TESTFLAGS) ./... || failed=1; done; exit $$failed'

.PHONY: test-fast
test-fast: ## Run the tests of the root module, without the race detector
	$(WITHPG) go test ./...

# Those of franzadapter in e2e/adapter_test.go.
ADAPTERS ?= franz

.PHONY: test-adapters
test-adapters: ## Run the e2e tests with franzadapter (ADAPTERS="franz franz-eager franz-server")
	@failed=0; for adapter in $(ADAPTERS); do \
		echo "IDEM_TEST_ADAPTER=$$adapter"; \
		IDEM_TEST_ADAPTER=$$adapter $(WITHPG) go test -C e2e $(RACE) -count=1 -timeout=20m . || failed=1; \
	done; exit $$failed

.PHONY: test-oldest-go
test-oldest-go: ## Build with the oldest Go that is supported, and run the tests of idem, lease, outbox, schema, consume and kafkaadapter
	GOTOOLCHAIN=$(OLDEST_GO) go build ./...
	GOTOOLCHAIN=$(OLDEST_GO) $(WITHPG) go test -count=1 -timeout=20m ./idem ./lease ./outbox ./schema/... ./consume ./internal/engine ./kafkaadapter/...

VERSIONS ?= 14 15 16 17 18

.PHONY: test-versions
test-versions: ## Run the tests of idem, lease, outbox and schema on all versions of PostgreSQL that are supported (VERSIONS="14 18")
	@failed=0; for version in $(VERSIONS); do \
		echo "PostgreSQL $$version"; \
		IDEM_TEST_DATABASE_URL= IDEM_TEST_PG=embedded-$$version $(WITHPG) go test -count=1 -timeout=20m ./idem ./lease ./outbox ./schema/... || failed=1; \
	done; exit $$failed

.PHONY: verify
verify: ## Check generated code, queries, imports, modules, format, the API, licences and idemctl's archives
	go test -count=1 -tags=verify -timeout=20m -v ./internal/verify ./internal/dist

.PHONY: api
api: ## Write what the public packages export into api/
	go test -count=1 -tags=verify -run='^TestAPI$$' ./internal/verify -update

.PHONY: mutate
mutate: ## Switch mechanisms off, one by one, and see that a test notices (half an hour; ARGS=--help for more)
	@$(WITHPG) go run ./internal/mutate $(ARGS)

.PHONY: mutate-general
mutate-general: ## Change conditions, operators and statements of idem and the engine, and see which changes no test notices (hours; ARGS=--help for more)
	@$(WITHPG) go run ./internal/mutate general $(ARGS)

.PHONY: model
model: ## Check the TLA+ model, and that each of its mechanisms is needed (a few minutes; ARGS=--help for more)
	@go run ./internal/model $(ARGS)

DURATION ?= 60s

.PHONY: chaos
chaos: ## Break what can be broken for DURATION=60s, and judge the histories (SEED=n; ARGS=--help for more)
	@go run -C e2e ./chaos -duration=$(DURATION) $(addprefix -seed=,$(SEED)) $(ARGS)

.PHONY: soak
soak: ## Run two consumers for an hour, and see whether anything grows (ARGS=--help for more)
	@go run -C e2e ./soak $(ARGS)

.PHONY: sim
sim: ## Simulate the lives of consumers for DURATION=60s, each from a seed (SEED=n; ARGS=-trace tells what happens; RACE= is faster)
	@go test $(RACE) -count=1 -timeout=0 -v -run='^TestSeeds$$' ./internal/simulation -args -duration=$(DURATION) $(addprefix -seed=,$(SEED)) $(ARGS)

.PHONY: lint
lint: ## Run golangci-lint
	@failed=0; for module in $(MODULES); do echo "golangci-lint: $$module"; (cd $$module && $(LINT) run) || failed=1; done; exit $$failed

.PHONY: vuln
vuln: ## Look for known vulnerabilities in all modules (VULNDB=file:///… where their database cannot be reached)
	@failed=0; for module in $(MODULES); do echo "govulncheck: $$module"; \
		go tool -modfile="$(CURDIR)/tools/vuln/go.mod" govulncheck $(addprefix -db=,$(VULNDB)) -C $$module ./... \
		|| case $$? in 3) failed=1 ;; *) exit 1 ;; esac; done; exit $$failed # 3: there are some

.PHONY: generate
generate: ## Generate db/ from queries/ and schema/, that of examples/sqlc, ent's client for its tests, and the dashboard
	$(SQLC) generate
	$(SQLC) generate --file examples/sqlc/sqlc.yaml
	CGO_ENABLED=0 go run -C internal/qualifysql . "$(CURDIR)/db"
	cd idemsql/ormtest && go tool ent generate ./ent/schema
	go run -C internal/dashboard . >idemotel/dashboard/dashboard.json

.PHONY: bench
bench: ## Compare the guard with its predecessor and its limits (12 minutes; ARGS=--help for more)
	@go run -C bench . $(ARGS)

.PHONY: bench-quick
bench-quick: ## The same with less of everything, in a minute
	@go run -C bench . -quick $(ARGS)

.PHONY: bench-go
bench-go: ## Run the Go benchmarks (BENCHTIME=2s each)
	$(WITHPG) go test -run='^$$' -bench=. -benchmem -benchtime=$(BENCHTIME) ./...

# Time is ended by an interrupt, not by -fuzztime, whose deadline at times is told as a failure ("context deadline exceeded", https://go.dev/issue/75804, mended in Go 1.27).
# To make an input smaller takes up to a minute by default, longer than it is worth where a target asks PostgreSQL.
.PHONY: fuzz
fuzz: ## Fuzz all targets of all modules, two at a time with one worker each (FUZZTIME=10s each, FUZZ=regexp of their names)
	@grep -rE '^func Fuzz' --include='*_test.go' . | sed -E 's#^(.*)/[^/]*:func (Fuzz[A-Za-z]+).*#\1 \2#' | grep -E '$(FUZZ)' | sort \
	| $(WITHPG) xargs -P 2 -L 1 bash -c 'cd $$0 && bin=$$(mktemp) && status=0; \
		said=$$({ go test -c -fuzz=. -o $$bin . && timeout --preserve-status --signal=INT --kill-after=60s $(FUZZTIME) $$bin -test.run="^$$" -test.fuzz="^$$1$$" \
			-test.fuzzcachedir="$$(go env GOCACHE)/fuzz/$$(go list .)" -test.fuzzminimizetime=20x -test.parallel=1; } 2>&1) || status=1; \
		rm $$bin; echo "$$0 $$1"; if [ $$status = 0 ]; then tail -n 2; else cat; fi <<<"$$said"; exit $$status'

.PHONY: build
build: ## Build bin/idemctl
	go build -ldflags "-X main.version=$(VERSION)" -o bin/idemctl ./cmd/idemctl

.PHONY: dist
dist: ## Build idemctl for all platforms, with what belongs to it, into dist/
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) go run ./internal/dist -version "$(VERSION)"

# How a version is released: docs/release.md.
.PHONY: release-version
release-version: ## Have the nested modules require VERSION of the others
	@[[ '$(VERSION)' =~ ^v[0-9]+\.[0-9]+\.[0-9]+$$ ]] || { echo 'usage: make release-version VERSION=v1.2.3' >&2; exit 2; }
	sed -i -E 's#^((require)?[[:space:]]+github\.com/nova-events/idempotent-consumer[^ ]*) v[^ ]+#\1 $(VERSION)#' $$(git ls-files 'go.mod' '*/go.mod')

.PHONY: release-check
release-check: ## Check that this commit can be released as VERSION
	go test -count=1 -v -tags=verify -run='^Test(Release|NestedModulesInstall|API|ModulesRequireOneVersion)$$' ./internal/verify -release=$(VERSION)

.PHONY: clean
clean: ## Remove what the other targets leave in this folder
	rm -rf bin dist coverage.out
