# make demo    the main job on the embedded model, offline
# make test    the tests (under 10 minutes on 2 cores)
# make fuzz    21,000 random texts of random constraints, each judged by code that is not ours (10 minutes)
# make check   formatting, types, and who may import whom
# Each sets up .venv from pyproject.toml and constraints.txt first, if need be.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow fuzz check bench clean

demo: .venv/ready
	@$(BIN)/python examples/quickstart.py

test: .venv/ready
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: .venv/ready
	$(BIN)/python -m pytest -m "slow and not gpu"

fuzz: .venv/ready
	$(BIN)/python -m tests.grammars.fuzzing

check: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/pip install -q -c constraints.txt -e ".[bench]"
	for b in benchmarks/*.py; do PYTHONPATH=. $(BIN)/python $$b || exit 1; done

.venv/ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; set PYTHON="; exit 1; }
	@echo "setting up .venv (once, some minutes)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e ".[server,dev]"
	@touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
