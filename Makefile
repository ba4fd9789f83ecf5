# On a fresh machine with Python 3.11+ and make:  make demo   then   make test
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# One thread each: tests run side by side, and results must not depend on how many cores there are.
export OMP_NUM_THREADS = 1
export GOMP_SPINCOUNT = 0

.PHONY: help demo session env test lint types layers tests proofs bench clean

help:
	@echo "make demo    make the environment, train a small model on made bars and test it"
	@echo "make session trade two weeks of made bars in a session, and prove it equal to the backtester"
	@echo "make test    format, lint, types, layers and tests"
	@echo "make proofs  the slower proofs"
	@echo "make bench   the benchmark table (makes an environment of its own for the peers)"
	@echo "make clean   remove what these made"

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[rl]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

env: $(VENV)/.installed-dev

demo: $(VENV)/.installed
	$(BIN)/mnq run strategies.toml -s learn --stage train,backtest

session: $(VENV)/.installed
	$(BIN)/mnq run strategies.toml -s session --stage trade --mode replay
	$(BIN)/mnq parity session

test: lint types layers tests

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: env
	$(BIN)/mypy

layers: env
	$(BIN)/lint-imports

tests: env
	$(BIN)/pytest -n 2 -m "not proof"

proofs: env
	$(BIN)/pytest -n 2 -m proof

bench: env
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
