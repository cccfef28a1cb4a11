# What a developer runs by hand; .ci/run is the whole of what has to pass.

TOOL    := go tool -modfile=tools/go.mod
FUZZTIME ?= 5m
BIN     ?= bin/pushhub

.PHONY: build check test race integration clients faults fuzz bench

build:
	go build -o $(BIN) ./cmd/pushhub

check:
	@unformatted=$$($(TOOL) gofumpt -l .); test -z "$$unformatted" || { echo "gofumpt: $$unformatted"; exit 1; }
	go vet ./...
	$(TOOL) golangci-lint run
	go test -run 'TestImports|TestSizes' .

test:
	go test ./...

race:
	go test -race ./...

# The clients of other authors that are not Debian packages.
clients:
	cd integration/clients/xmppjs && npm ci --no-audit --no-fund

integration: clients
	PUSHHUB_REQUIRE_CLIENTS=1 go test -count=1 ./integration

# A hundred rounds of kill -9, frozen and reset, and a full disk; about half an hour.
faults:
	go test ./integration/faults -run TestFaults -faults.rounds=100 -v -count=1 -timeout 60m

# Every fuzz target for FUZZTIME each: make fuzz FUZZTIME=10s
fuzz:
	./.ci/fuzz $(FUZZTIME)

bench:
	go test -run '^$$' -bench . -benchmem ./...
