# Sets itself up from a bare machine with Python 3.11 or newer.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
EVENTS ?= 100000
SEED   ?= 1
FUZZ_SECONDS ?= 600
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "loader needs Python 3.11 or newer; try: make PYTHON=python3.12")'

.PHONY: help run test test-fast torture bench lint format audit clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/ready ## Simulate events, load them on the embedded PostgreSQL, show the result
	$(BIN)/loader simulate --events $(EVENTS) --seed $(SEED) --bad-rate 0.01 --dup-rate 0.01
	$(BIN)/loader run || test $$? -eq 3
	$(BIN)/loader psql -c "SELECT event_name, count(*), min(event_time), max(event_time) FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 5"
	$(BIN)/loader psql -c "SELECT name, status, rows_read AS read, rows_inserted AS inserted, rows_duplicate AS duplicates, rows_rejected AS rejected FROM loader_files ORDER BY file_id"

test: $(VENV)/ready ## Run all tests, on the embedded PostgreSQL or the server that DATABASE_URL names
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-fast: $(VENV)/ready ## Run the tests that take less than a few seconds
	$(BIN)/python -m pytest -m "not slow"

torture: $(VENV)/ready ## Run the fault and property tests in their long form, then a fuzzer; takes an hour or so
	LONG_TESTS=1 $(BIN)/python -m pytest tests/torture tests/test_differential.py tests/test_crash.py tests/test_damaged_parquet.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python -m tests.fuzz_decode $(FUZZ_SECONDS)

bench: $(VENV)/bench/ready ## Run the benchmarks; takes an hour or so. BENCH="fresh parquet --rounds 5" says which and how
	$(VENV)/bench/bin/python -m bench $(BENCH)

lint: $(VENV)/ready ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/ready ## Put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: $(VENV)/audit ## Look the pinned dependencies up in the advisory database, or say that it can't be done
	$(PYTHON) .ci/audit $(VENV)/audit/bin/pip-audit constraints.txt

clean: ## Remove what the targets made, but no data
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/ready: pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,report,dev]'
	@touch $@

# What users install, and no test libraries: Pandera imports Hypothesis where it finds it, which takes 0.07 s of each run.
$(VENV)/bench/ready: pyproject.toml constraints.txt bench/requirements.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)/bench
	$(VENV)/bench/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded]' --requirement bench/requirements.txt
	@touch $@

# Its dependencies are many, and none of the loader's.
$(VENV)/audit: | $(VENV)/ready
	$(PYTHON) -m venv $@
	-$@/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
