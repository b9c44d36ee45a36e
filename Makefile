# Every target works from a clean clone. Suites that need other programs install them themselves.
SHELL := /bin/bash
BIN := bin/moldau

.PHONY: all build run test race lint sim sim-whole docs conformance conformance-cluster suites suites-cluster frameworks oracle oracle-record behaviour crash cluster cluster-tools fault fault-random fault-rolling bench bench-failover bench-cluster bench-scale weight groups files compaction badinput fuzz full clean

all: build

build:
	CGO_ENABLED=0 go build -trimpath -o $(BIN) ./cmd/moldau

run: build          ## a broker on 127.0.0.1:9092 with its data in a temporary directory
	$(BIN) dev

test:               ## everything that needs nothing but Go
	CGO_ENABLED=0 go test ./...

race:               ## layers 0 to 4 under the race detector (needs a C compiler)
	go test -race $(RACEFLAGS) ./internal/ids/... ./internal/invariant/... ./internal/deferred/... ./internal/vfs/... ./internal/wire/... ./internal/peer/... \
	  ./internal/record/... ./internal/log/... ./internal/metadata/... ./internal/quorum/... ./internal/controller/... \
	  ./internal/partition/... ./internal/replica/... ./internal/coordinator/...

lint:               ## gofmt, vet for three systems, staticcheck, the table of layers
	./.ci/lint

sim:                ## the metadata quorum, then replication, in simulated worlds; SEED=7 N=1 for one seed, RESULTS=DIR to go on where a run was interrupted
	test/sim/run.sh

sim-whole:          ## whole brokers and clients for HOURS=50 of virtual time, about an hour of one core; RESULTS=DIR to go on where a run was interrupted
	WORLDS=whole HOURS=$(or $(HOURS),50) test/sim/run.sh

docs:               ## the pages that come from tables in the code
	go generate ./internal/config ./internal/handler

oracle:             ## every advertised (API, version) against Apache Kafka's recorded answers, and against Apache Kafka itself
	test/oracle/run.sh

behaviour:          ## scenarios of clients, against Apache Kafka and against Moldau
	test/behaviour/run.sh

conformance:        ## clients that other people wrote; RECORDS=1000 for a short run, CLIENTS="kcat java-4.4.0" for some
	test/conformance/run.sh $(CLIENTS)

conformance-cluster: ## the same against three nodes, of which one is killed every 20 s; CLIENTS= as above, RESULTS=DIR to go on where a run ended
	NODES=3 KILL_EVERY=$${KILL_EVERY-20} test/conformance/run.sh $(CLIENTS)

frameworks:         ## frameworks that other people wrote, against a batch computation; FRAMEWORKS="spark" for some
	test/frameworks/run.sh $(FRAMEWORKS)

suites:             ## suites that other people wrote, from the packages that carry them; SUITES="kgo" for some
	test/suites/run.sh $(SUITES)

suites-cluster:     ## franz-go's tests against three nodes with three replicas; KILL_EVERY=20 to have one killed every 20 s
	NODES=3 test/suites/run.sh kgo

crash:              ## kill -9 under load, and power cuts simulated
	test/crash/run.sh
	test/crash/powerloss.sh

cluster:            ## three nodes as processes: form, lose members and get them back, refuse strangers
	test/cluster/run.sh

cluster-tools:      ## Apache Kafka's own tools look after three nodes of which one is killed
	test/cluster/tools.sh

fault:              ## three nodes under load that lose their lives, their links and their disks; SEED=7 SECONDS=600 for another and a longer run
	test/fault/run.sh

SCHEDULES ?= 100
fault-random:       ## minutes of all those faults at random, SCHEDULES of them from SEED on; LIMIT=9m for a slice, the next run goes on
	SCHEDULES=$(SCHEDULES) test/fault/run.sh

fault-rolling:      ## the brokers restart in turn under Java, librdkafka and franz-go, which must not notice
	test/fault/rolling.sh

bench:              ## Moldau and Apache Kafka in turn, as ratios
	test/bench/run.sh

bench-failover:     ## how long partitions cannot be written to when brokers of three are killed or halted, beside Apache Kafka
	test/bench/failover.sh

bench-cluster:      ## three brokers beside three of Apache Kafka, every partition replicated, in turn
	test/bench/cluster.sh

bench-scale:        ## three brokers with 10,000 partitions: made, idle, one lost and back, and the cost of each
	test/bench/scale.sh

weight:             ## start, memory, idle partitions and connections
	test/bench/weight.sh

groups:             ## groups of many members, many groups, many committed offsets
	test/groups/run.sh

files:              ## Apache Kafka's tools read our files, and we read Apache Kafka's
	test/files/run.sh

compaction:         ## what compaction leaves, beside Apache Kafka's; RECORDS=50000 for a short run
	test/compaction/run.sh

badinput:           ## what goes wrong gets one clear message
	test/badinput/run.sh

FUZZTIME ?= 60s
fuzz:               ## each fuzz target for FUZZTIME
	./.ci/fuzz $(FUZZTIME)

full: test race lint sim sim-whole fuzz oracle behaviour conformance conformance-cluster suites suites-cluster frameworks files compaction badinput groups crash cluster cluster-tools fault fault-random fault-rolling weight bench-failover bench-cluster bench-scale bench   ## all acceptance

clean:
	rm -rf bin
