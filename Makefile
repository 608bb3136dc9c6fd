# What a developer does, one word each. `make help` lists them.
#
# make demo SERVER=mysql     the demo on MySQL in place of MariaDB
# make test TEST=name        only tests whose name contains it
# make fuzz TARGETS=json FUZZ_SECONDS=600

CARGO  ?= cargo
# The quickest to get is the default.
SERVER ?= mariadb
TEST   ?=
# Parsers to feed, all unless said otherwise, and for how long each.
TARGETS      ?= $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
FUZZ_SECONDS ?= 20

# Where cargo puts what it builds.
TARGET = $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint fmt servers fuzz fuzz-keep

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 16

servers: ## get the MySQLs and MariaDBs for the tests
	@scripts/get-servers

demo: ## see a clinic's work arrive at the parent over a link that fails [SERVER=mariadb|mysql]
	@scripts/get-servers $(SERVER)
	$(CARGO) build --package headwater --bin headwater --package headwater-rig --bin demo
	@# Not by cargo, which would build one package alone anew, with fewer features of what both need.
	@$(TARGET)/debug/demo --server $(SERVER)

# Where the tests note what they had to skip; the closing lines name it.
SKIPPED = $(TARGET)/tmp/skipped

test: ## run all tests, on four servers [TEST=name]
	@scripts/get-servers
	@rm -rf $(SKIPPED)
	@$(MAKE) --no-print-directory run-tests; outcome=$$?; \
	    scripts/get-servers --closing $(SKIPPED); exit $$outcome

.PHONY: run-tests
run-tests:
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    echo "tests: with cargo nextest" && \
	    $(CARGO) nextest run --workspace $(if $(TEST),-E 'test($(TEST))',); \
	else \
	    echo "tests: with cargo test, two at a time (cargo nextest is not installed)" && \
	    $(CARGO) test --workspace --lib --bins --tests -- --test-threads=2 $(TEST); \
	fi
	$(CARGO) test --workspace --doc

bench: ## print the figures, on half a million row changes [ROWS=50000 FIGURES=a,c SERVER=mysql|mariadb]
	@scripts/get-servers
	$(CARGO) bench --bench figures

fuzz: ## feed the parsers what no peer sends [TARGETS="json log" FUZZ_SECONDS=20]
	@scripts/fuzz $(FUZZ_SECONDS) $(TARGETS)

fuzz-keep: ## take what fuzzing found into the corpora that `make test` replays [TARGETS=json]
	@scripts/fuzz keep $(TARGETS)

lint: ## check the code's form, as CI does
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

fmt: ## put the code into its form
	$(CARGO) fmt --all
