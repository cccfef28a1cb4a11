# What a developer runs by hand; .ci/run is the whole of what has to pass.

TOOL    := go tool -modfile=tools/go.mod
FUZZTIME ?= 5m
BIN     ?= bin/pushhub

.PHONY: build check test race integration clients faults guards soak fuzz bench

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
	for client in xmppjs mqttjs; do (cd integration/clients/$$client && npm ci --no-audit --no-fund) || exit 1; done

integration: clients
	PUSHHUB_REQUIRE_CLIENTS=1 go test -count=1 ./integration

# A hundred rounds of kill -9, frozen and reset, and a full disk; about six minutes.
faults:
	go test ./integration/faults -run TestFaults -faults.rounds=100 -v -count=1 -timeout 60m

# Takes the guards out of the hub one by one: the rig must notice each time.
guards:
	go test ./integration/faults -run TestTheRigFindsBrokenGuards -faults.guards -v -count=1 -timeout 30m

# Ten minutes of stuck readers, reconnect churn and offline growth up to the limits.
soak:
	go test ./integration/faults -run TestMemoryStaysFlat -faults.soak=10m -v -count=1 -timeout 30m

# Every fuzz target for FUZZTIME each: make fuzz FUZZTIME=10s
fuzz:
	./.ci/fuzz $(FUZZTIME)

bench:
	go test -run '^$$' -bench . -benchmem ./...
