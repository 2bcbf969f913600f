# What one does with a checkout. `make` alone, or `make help`, lists it all.

SHELL := /bin/sh
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/.installed

# An environment of its own: what eventbus is compared with is no part of it.
BENCH := build/bench

# What tests put into PostgreSQL need not outlive them: where there is plenty of memory it stays there, for a disk that has just
# deleted the databases of a thousand tests is slow to make the next one.
MEMORY := $(shell [ "$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $$4 }')" -gt 8000000 ] 2>/dev/null && echo /dev/shm)
IN_MEMORY := $(if $(MEMORY),TMPDIR=$(MEMORY))

# Tests start hundreds of processes: each would compile anew what the first one could have kept. Most of what is installed is never
# imported, so it is not compiled before.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait for workers most of the time, so more of them can run at once than there are processors.
PROCESSES := 5

# Reads tests and keeps what pytest makes of their assertions: else each of the processes makes it for itself, at the same time.
COMPILE := $(BIN)/python -m pytest --quiet --collect-only

# Checks pages for accessibility, in tests only.
AXE := build/axe/node_modules/axe-core/axe.min.js

# Coverage must be complete where a forgotten branch loses events.
GATED := eventbus/lifecycle/*,eventbus/storage/*
UNGATED := eventbus/storage/migrations/versions/*

# A checkout that was moved has a venv that points to its old place.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help setup demo test chaos check bench screenshots clean

help:  ## List these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: $(STAMP)  ## Make .venv with all that development needs; done once, and again after a change of pyproject.toml

demo: $(STAMP)  ## Start throwaway servers and sample services, and watch events flow; FILE=PATH is passed on
	@$(BIN)/python -m eventbus.demo $(if $(FILE),"$(FILE)")

test: $(STAMP) $(AXE)  ## Run all tests, then hold lifecycle and storage to full branch coverage
	@rm -f .coverage .coverage.* build/not-run.txt
	@if [ -z "$(PYTEST_ARGUMENTS)" ]; then $(COMPILE) tests/integration tests/controls tests/model & $(COMPILE) tests/e2e tests/console tests/unit; wait; fi > /dev/null
	@$(IN_MEMORY) $(BIN)/python -m coverage run -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGUMENTS)
	@$(IN_MEMORY) $(BIN)/python -m pytest -n $(PROCESSES) --maxschedchunk 1 -o timeout=600 tests/chaos tests/controls tests/model  # measuring would only slow them down; storms wait for most of their time, and some others for what never comes
	@$(IN_MEMORY) $(BIN)/python -m pytest -o timeout=600 tests/million  # alone: they measure how soon lists answer
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --include='$(GATED)' --omit='$(UNGATED)' --fail-under=100
	@if [ -f build/not-run.txt ]; then cat build/not-run.txt; fi

chaos: $(STAMP)  ## Let faults strike for SECONDS=45, then let SQL decide what was lost; SEED=7 repeats a storm, SEEDS=50 runs many, CONTINUE=1 skips those that passed
	@$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(CONTINUE),--continue) $(if $(PAGE),--page $(PAGE))

check: $(STAMP)  ## Check style, types, layers and documentation; takes less than a minute
	@$(BIN)/python -m mypy --strict --no-error-summary eventbus workers & types=$$!; \
	$(BIN)/python -m ruff check --quiet . \
	    && $(BIN)/python -m ruff format --quiet --check . \
	    && { $(BIN)/lint-imports --no-logo > build/layers.txt || { cat build/layers.txt; false; }; } \
	    && $(BIN)/python -m pytest -q tests/house; others=$$?; \
	wait $$types && exit $$others  # the types take as long as all others together

bench: $(BENCH)/.installed  ## Compare with other systems, in at most 25 minutes; QUICK=1 needs 6; fails when a bound is missed
	@NODE_PATH="$(CURDIR)/$(BENCH)/node_modules" $(BENCH)/bin/python -m benchmarks $(if $(filter 1,$(QUICK)),--size quick)

screenshots: $(STAMP)  ## Draw the README's pictures of the console anew; needs Chromium
	@$(BIN)/python -m tests.console.screenshots

clean:  ## Remove .venv and everything else that can be made again
	@rm -rf .venv build dist .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@mkdir -p build
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "eventbus needs Python 3.11 or newer: install one, or name one with make PYTHON=/path/to/python3." >&2; exit 1; \
	fi; \
	echo "Installing into .venv with $$found …"; \
	{ $$found -m venv --clear .venv \
	    && $(BIN)/python -m pip install --disable-pip-version-check --no-compile -e '.[embedded,console,dev]'; } > build/setup.log 2>&1 \
	    || { cat build/setup.log; echo "The installation failed; the lines above say why." >&2; exit 1; }
	@printf '%s\n' '$(CURDIR)' > $@

$(AXE): tests/console/package.json
	@if command -v npm >/dev/null; then \
	    mkdir -p build/axe && cp tests/console/package.json build/axe && \
	    { npm --prefix build/axe install --no-audit --no-fund --silent > build/axe.log 2>&1 && touch $@ || cat build/axe.log; }; \
	fi

$(BENCH)/.installed: pyproject.toml benchmarks/requirements.txt benchmarks/package.json $(STAMP)
	@command -v npm >/dev/null || { echo "make bench needs Node and npm, for the event bus that is written in it." >&2; exit 1; }
	@echo "Installing into $(BENCH) …"
	@$(BIN)/python -m venv --clear $(BENCH) && cp benchmarks/package.json $(BENCH) \
	    && { $(BENCH)/bin/python -m pip install --disable-pip-version-check -e '.[embedded]' -r benchmarks/requirements.txt \
	    && npm install --prefix $(BENCH) --no-package-lock --no-audit --no-fund; } > build/bench.log 2>&1 \
	    || { cat build/bench.log; echo "The installation failed; the lines above say why." >&2; exit 1; }
	@touch $@
