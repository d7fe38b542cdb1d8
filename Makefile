# Everything from a clean clone: `make demo`, `make test`. Needs make and Python 3.11 or newer.
# Where packages come from is pip's own business: its configuration and environment say so.

PYTHON ?= python3
VENV ?= .venv
# More than cores: tests of clusters and stores wait for other processes.
WORKERS ?= 4

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c conf/constraints.txt
INPUTS := pyproject.toml conf/constraints.txt
VERDICTS := build/matrix.jsonl

# Tests start hundreds of programs; each would compile our modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: help demo test suite lint unit matrix ways proof adf bench limits package wheel fuzz texts states \
	projection soak audit clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(VENV)/.runs ## make a skewed sample, profile it, split it, verify it
	@$(BIN)/evensplit demo

# Types take one core most of a minute, while the tests start.
test: $(VENV)/.azurite $(VENV)/.chromium $(VENV)/.hosts ## lint, types, layers, all tests, and of some a few cases (all: make ways)
	@$(MAKE) -j 2 lint suite

suite: $(VENV)/.azurite $(VENV)/.chromium $(VENV)/.hosts
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

lint: $(VENV)/.tests ## style, format, types, layers
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@report=$$($(BIN)/lint-imports --no-logo) || { echo "$$report"; exit 1; }

unit: $(VENV)/.azurite $(VENV)/.chromium ## the fast tests only
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow"

matrix: $(VENV)/.tests ## every writer's files by every reader: writes docs/readers.md
	@mkdir -p build && rm -f $(VERDICTS)
	@EVENSPLIT_MATRIX=$(VERDICTS) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal tests/matrix/test_matrix.py
	@$(BIN)/python -m tests.matrix.table $(VERDICTS) docs/readers.md

ways: $(VENV)/.azurite $(VENV)/.chromium ## all cases of tests of which `make test` has some, and more examples
	@EVENSPLIT_WAYS=1 EVENSPLIT_PROJECTION=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "ways or hypothesis"
	@$(BIN)/python -m tests.matrix.ways

# Nodes of the emulator run this Python.
proof: NODE_PYTHON = $(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
proof: PACKAGE = build/proof
proof: $(VENV)/.azurite package ## 50 files, 2 GB, through the Batch emulator and Azurite: minutes
	@$(BIN)/python -m tests.batchjobs.scenario --package $(PACKAGE)

RECORD := build/adf.jsonl

adf: $(VENV)/.azurite $(VENV)/adf/.made ## run Data Factory's pipelines, every expression by Microsoft's evaluator too
	@mkdir -p build && rm -f $(RECORD)
	@EVENSPLIT_ADF_RECORD=$(abspath $(RECORD)) $(BIN)/python -m pytest -q tests/adf
	@$(BIN)/python -m tests.adf.crosscheck $(RECORD) $(VENV)/adf/bin/python

# An hour; SCALE=1 REPEATS=1 takes minutes.
SCALE ?= 10
REPEATS ?= 5

bench: $(VENV)/.benches ## measure beside other tools: writes docs/performance.md and the README's table
	@$(BIN)/python -m benchmarks --scale $(SCALE) --repeats $(REPEATS)
	@$(BIN)/python -m benchmarks.page

limits: $(VENV)/.benches ## every verb in control groups of the memory projected: hours, root, cgroup v1
	@$(BIN)/python -m benchmarks.limits

# Every seed is another set of damaged files; a fault is kept in build/fuzz, with how to see it again.
SECONDS ?= 300
SEED ?= 1

fuzz: $(VENV)/.tests ## split thousands of damaged files: refused in a line, or read as before
	@$(BIN)/python -m tests.fuzz.run --spark --seconds $(SECONDS) --seed $(SEED) --workers $(WORKERS)

texts: $(VENV)/.tests ## damaged records, activities, lists, lines: taken, or refused in a line
	@$(BIN)/python -m tests.fuzz.texts --seconds $(SECONDS) --seed $(SEED) 2>/dev/null

SEQUENCES ?= 2000

states: $(VENV)/.azurite ## sequences of splits, pauses, deaths, damage and repair, on four kinds of stores: hours
	@EVENSPLIT_WAYS=1 EVENSPLIT_STATES=$(SEED):$(SEQUENCES) $(BIN)/python -m pytest -q -rP -n $(WORKERS) --timeout 0 \
		tests/engine/test_state_machine.py tests/engine/test_two_runs.py

projection: $(VENV)/.tests ## memory of every verb on files of every shape, against its projection: minutes
	@EVENSPLIT_WAYS=1 EVENSPLIT_PROJECTION=1 $(BIN)/python -m pytest -q tests/engine/formats/parquet/test_projection.py

soak: $(VENV)/.tests ## split in one process again and again: memory, threads, descriptors stay flat
	@$(BIN)/python -m tests.soak --seconds $(SECONDS)

# Strict, else packages that the service does not know pass as sound.
audit: $(VENV)/audit/.made ## known weaknesses of the pinned packages: asks an advisory service
	@$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip -r conf/constraints.txt || { \
		echo "NOT sound, or not audited: see above; the advisory service must be in reach" >&2; exit 1; }

# The wheels are for the nodes' Python, which is not this one: say it if it is another, 3.12 and so on.
NODE_PYTHON ?= 3.12
PACKAGE := build/package

package: $(VENV)/.made ## what nodes of Azure Batch install: all wheels, in build/package
	@rm -rf $(PACKAGE) && mkdir -p $(PACKAGE)
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps \
		--wheel-dir $(PACKAGE) .
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check -c conf/constraints.txt \
		--dest $(PACKAGE) --python-version $(NODE_PYTHON) --only-binary :all: \
		--platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 pip $(PACKAGE)/evensplit-*.whl
	@cp conf/constraints.txt conf/batch/start.sh $(PACKAGE)

wheel: $(VENV)/.wheels ## build the wheel, check it, install it elsewhere and run the README's commands
	@$(BIN)/python -m tests.wheel

clean: ## remove the environment and every cache
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is made last, so an installation cut short is done again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; say make PYTHON=python3.11" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runs: $(VENV)/.made $(INPUTS)
	@echo "installing evensplit"
	@$(PIP) -e '.[report]'
	@touch $@

$(VENV)/.tests: $(VENV)/.made $(INPUTS)
	@echo "installing evensplit and its tests"
	@$(PIP) -e '.[test]'
	@touch $(VENV)/.runs $@

# The blob store of the tests; npm comes with the Node that pip has installed.
$(VENV)/.azurite: $(VENV)/.tests tests/azurite/package.json tests/azurite/package-lock.json
	@echo "installing Azurite"
	@mkdir -p $(VENV)/azurite
	@cp tests/azurite/package.json tests/azurite/package-lock.json $(VENV)/azurite
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/npm ci --prefix $(VENV)/azurite --silent \
		--ignore-scripts --no-audit --no-fund --no-update-notifier
	@touch $@

# The browser of the tests, from npm too; it comes compressed.
$(VENV)/.chromium: $(VENV)/.tests $(addprefix tests/browser/,package.json package-lock.json unpack.mjs)
	@echo "installing Chromium"
	@mkdir -p $(VENV)/chromium
	@cp $(filter tests/browser/%,$^) $(VENV)/chromium
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/npm ci --prefix $(VENV)/chromium --silent \
		--ignore-scripts --no-audit --no-fund --no-update-notifier
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/node $(VENV)/chromium/unpack.mjs
	@touch $@

# The tests' hosts are network namespaces, which only root may make.
$(VENV)/.hosts: $(VENV)/.made
	@command -v ip >/dev/null && command -v nsenter >/dev/null || { \
		echo "installing iproute2" && apt-get -qq update && \
		apt-get -qq install -y --no-install-recommends iproute2 util-linux >/dev/null; } || \
		{ echo "tests of clusters need ip and nsenter: install iproute2 and util-linux" >&2; exit 1; }
	@touch $@

$(VENV)/adf/.made: $(VENV)/.made tests/adf/requirements.txt
	@echo "installing Microsoft's evaluator of expressions"
	@$(PYTHON) -m venv --clear $(VENV)/adf
	@$(VENV)/adf/bin/python -m pip install --quiet --disable-pip-version-check \
		--only-binary :all: -r tests/adf/requirements.txt
	@touch $@

$(VENV)/.wheels: $(VENV)/.made $(INPUTS)
	@echo "installing what checks wheels"
	@$(PIP) -e '.[release]'
	@touch $@

$(VENV)/audit/.made: $(VENV)/.made
	@echo "installing pip-audit"
	@$(PYTHON) -m venv --clear $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@touch $@

$(VENV)/.benches: $(VENV)/.made $(INPUTS)
	@echo "installing evensplit and its benchmarks"
	@$(PIP) -e '.[benchmarks]'
	@touch $(VENV)/.runs $@
