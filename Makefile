# Targets are listed by `make help`. Everything that is installed goes to .tools/, or to node_modules/ beside a lock file, and git ignores
# both; nothing else is touched but the caches of cargo, Go, npm and pip. CONTRIBUTING.md names what must be there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Whatever -j says: while `make mutants` runs, target/debug/counter-api is a faulty binary, which other targets would test; and they measure.
.NOTPARALLEL:
# Recipes look there for what cargo builds, whatever the machine's own settings say.
export CARGO_TARGET_DIR := $(CURDIR)/target
# So that the tests leave nothing in the tree.
export PYTHONDONTWRITEBYTECODE := 1
.PHONY: help run test tools fmt fmt-check lint unit integration mutants chaos failover-plot property bench reference licences deny sbom reproducible clean
.PHONY: monitoring nagios runbooks collector collector-configs dashboards dashboards-json dashboards-check dashboards-strict
.PHONY: page page-picture postman manifests verify loadtest loadtest-types loadtest-quick loadtest-test loadtest-compare drill drill-short drill-tools

# The number of tests at once: the integration tests start real servers, a few at a time are best on small machines.
TEST_THREADS ?= 4

# Builds target/debug/counter-api of what `cargo test` compiles: the tests' own dependencies turn on features of others (Cargo.toml says
# which), so that `cargo build` alone would compile a third of them once more. Any test would do, and this one is small. It is no target,
# for that would be made once, and `make mutants` may come in between and leave a faulty binary there.
build := cargo build --locked --bins --test consistency

# Builds a program of crates.io, in a folder of its own that is gone afterwards.
install := env --unset=CARGO_TARGET_DIR cargo install --locked --root .tools

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Serve on the embedded store (./data)
	cargo run --release

test: tools fmt-check lint mutants integration property postman page monitoring collector-configs dashboards-check manifests loadtest-test nagios drill-short ## Install what the tests need, and run everything that must pass before a merge (20 minutes)

tools: ## Install what the tests need into .tools/
	scripts/install-mongod
	scripts/install-prometheus
	scripts/install-schemathesis
	scripts/install-oauth-tools

fmt: ## Format the code
	cargo fmt

fmt-check: ## Check the format
	cargo fmt --check

lint: ## Run clippy, warnings denied
	cargo clippy --locked --all-targets -- -D warnings

unit: ## Run the unit tests alone (seconds)
	cargo test --locked --lib

integration: ## Run unit and integration tests on both stores
	cargo test --locked -- --test-threads=$(TEST_THREADS)

mutants: tools ## See the checker of histories find faults that are planted into the service (3 minutes)
	cargo test --locked --features mutants --test it mutants:: -- --nocapture

chaos: export CHAOS_SECONDS ?= 300
chaos: export CHAOS_CALLS ?= 500000
chaos: tools ## Hold the promises under faults for 5 minutes and 500,000 calls (CHAOS_SEED repeats; release build included)
	cargo test --locked --release --test it chaos::every_promise -- --nocapture

failover-plot: tools ## Kill a primary under load and draw what the metrics say, for docs/operations.md
	PLOT=1 cargo test --locked --test it death_of_the_primary

property: ## Property tests of the running service, from its OpenAPI file (a minute)
	scripts/install-schemathesis
	$(build)
	scripts/run-schemathesis

page: ## Use the pages in a real browser: the whole way, failures, attacks, accessibility (3 minutes)
	scripts/install-mongod
	scripts/install-loadtest-tools
	scripts/install-oauth-tools
	scripts/install-page-tools
	$(build)
	cd tests/page && node --test --test-concurrency=2 --test-reporter=spec

page-picture: ## Take the picture of the page for the README
	scripts/install-loadtest-tools
	scripts/install-page-tools
	$(build)
	node tests/page/picture.js docs/images/page.png

postman: ## Run the Postman collection with newman, and hold it to the API's description (seconds)
	scripts/install-postman-tools
	$(build)
	cd tests/postman && node --test --test-reporter=spec

monitoring: ## Check Prometheus' rules and Alertmanager's routing with their own tools, and run the rules' tests (2 minutes)
	scripts/install-prometheus
	scripts/check-monitoring

collector-configs: ## Check the configurations of the OpenTelemetry Collector as they stand (seconds)
	scripts/check-collector-configs

collector: ## Run those configurations on a real collector between the service and its back ends (a release build and some minutes the first time, then 2)
	scripts/install-mongod
	scripts/install-collector-tests
	scripts/install-otel-collector
	cargo build --locked --release
	cd tests/collector && ../../.tools/collector/venv/bin/python -m unittest --verbose

nagios: ## Nagios, the blackbox exporter and PagerDuty's notifications against the real service (a minute)
	scripts/install-mongod
	scripts/install-mongosh
	scripts/install-prometheus
	scripts/install-nagios
	$(build)
	@cd tests/monitoring; printf '%s\n' test_*.py | xargs -P 4 -n 1 python3 -m unittest

runbooks: ## Run every query and command of the runbooks (2 minutes)
	scripts/install-mongod
	scripts/install-mongosh
	scripts/install-prometheus
	$(build)
	scripts/check-runbooks

dashboards-json: ## Write dashboards/*.json from dashboards/source
	scripts/install-dashboard-tools
	.tools/dashboards/bin/python dashboards/source/build.py

dashboards-check: ## Check the dashboards without starting anything, and see the checks fail (seconds)
	scripts/install-dashboard-tools
	.tools/dashboards/bin/python tests/dashboards/check.py
	.tools/dashboards/bin/python tests/dashboards/mutants.py

dashboards: dashboards-check ## Ask every panel's expressions of replicas under load and faults, and draw the pictures (7 minutes)
	scripts/install-mongod
	scripts/install-prometheus
	$(build)
	.tools/dashboards/bin/python tests/dashboards/live.py --binary target/debug/counter-api --pictures $(or $(PICTURES),dashboards/pictures)

dashboards-strict: ## Read the dashboards strictly with Grafana's own types (a minute to build)
	scripts/install-go
	.tools/go/bin/go build -C tests/dashboards/strict -o ../../../.tools/dashboards-strict .
	.tools/dashboards-strict dashboards/*.json

manifests: ## Check what is deployed: kubernetes/, the Dockerfile, compose.yaml, the licences
	scripts/install-manifest-tools
	scripts/check-manifests

verify: PICTURES = target/pictures
verify: dashboards-strict dashboards collector runbooks deny ## Check what takes long to build or to run: dashboards, runbooks, a collector, kube-score, docker compose, Prometheus 3.x, pint, broken rules, licences (over an hour)
	scripts/install-manifest-tools --all
	scripts/check-manifests --all
	scripts/install-prometheus
	scripts/install-verify-tools
	PROMTOOL=$$PWD/.tools/verify/bin/promtool MONTH_STEP=60 scripts/check-monitoring
	.tools/verify/bin/pint --offline --no-color lint --min-severity=info --fail-on=info monitoring/prometheus/rules
	.tools/prometheus/bin/python scripts/mutate-rules

drill: drill-tools ## Set the service on fire, one fault after the other, and see who is called (an hour and a half; DRILL=--outage, DRILL='--only slow')
	.tools/drill/bin/python tests/drill/drill.py $(or $(DRILL),--results tests/drill/RESULTS.md)

drill-short: drill-tools ## Two faults of the drill, one that wakes somebody and one that does not (3 minutes)
	.tools/drill/bin/python tests/drill/drill.py --factor 30 --quiet 5 --only 'all replicas killed' certificate

drill-tools:
	scripts/install-mongod
	scripts/install-prometheus
	scripts/install-drill
	$(build)

bench: ## Measure everything beside what others would pick and write loadtest/RESULTS.md (20 minutes and a release build)
	scripts/install-mongod
	scripts/install-bench-tools
	@echo 'make bench: about 20 minutes after a release build; the machine should have nothing else to do'
	ulimit -n "$$(ulimit -Hn)"; cargo bench --locked --bench throughput -- --json target/bench.json --results loadtest/RESULTS.md

loadtest: ## Run a load test with k6, which must be there: make loadtest SCRIPT=smoke BASE_URL=http://127.0.0.1:8080
	@scripts/run-k6 $(SCRIPT)

loadtest-types: ## Check the types of the load tests, and of what runs them without k6
	scripts/install-loadtest-tools
	tests/k6/node_modules/.bin/tsc --project loadtest
	tests/k6/node_modules/.bin/tsc --project tests/k6

loadtest-quick: loadtest-types ## Check the load tests without a service: types, what runs them without k6, and what they have from elsewhere
	scripts/install-kustomize
	cd tests/k6 && node --test --test-reporter=spec runtime.test.js commands.test.js drift.test.js

loadtest-test: loadtest-quick ## Run every load test in seconds, without k6, and see each fail where it should (2 minutes)
	scripts/install-mongod
	$(build)
	cd tests/k6 && node --test --test-reporter=spec scripts.test.js

loadtest-compare: ## Compare the latencies of those runs with vegeta's and write loadtest/OPEN-LOOP.md (2 minutes and a release build)
	scripts/install-loadtest-tools
	scripts/install-mongod
	scripts/install-vegeta
	cargo build --locked --release
	COUNTER_API=target/release/counter-api node tests/k6/compare.js loadtest/OPEN-LOOP.md

reference: ## Write the documents that the binary prints: docs/configuration.md, docs/metrics.md, docs/errors.md
	$(build)
	target/debug/counter-api reference settings > docs/configuration.md
	target/debug/counter-api reference metrics > docs/metrics.md
	target/debug/counter-api reference errors > docs/errors.md

licences: ## Write THIRD-PARTY.txt, the licences of the crates in the binary (seconds)
	scripts/render-licences

deny: ## Check licences, bans and sources of the dependencies (installs cargo-deny: minutes)
	test -x .tools/bin/cargo-deny || $(install) --version 0.20.2 cargo-deny
	.tools/bin/cargo-deny --all-features check licenses bans sources

sbom: ## Write target/sbom.json, a CycloneDX bill of what is in the binary (installs cargo-cyclonedx: minutes)
	test -x .tools/bin/cargo-cyclonedx || $(install) --version 0.5.9 cargo-cyclonedx
	PATH="$$PWD/.tools/bin:$$PATH" scripts/write-sbom

reproducible: ## Build the binary twice as the image does, in two folders, and see that it is the same (two release builds)
	scripts/check-reproducible

clean: ## Remove what was built and installed
	rm -rf target .tools tests/{k6,oauth,page,postman}/node_modules
