# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Nothing that runs from here reports its use to anyone.
export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# MkDocs' theme would otherwise advertise its successor at every build.
export NO_MKDOCS_2_WARNING := 1

.PHONY: help venv demo test test-slow lint docs format hooks lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

venv: $(STAMP)  ## create .venv and install the pinned packages (skipped when up to date)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "raypipe needs Python 3.11 or newer; try: make venv PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(STAMP)  ## a small drawn world through a whole run, and a report of what was found
	$(BIN)/raypipe demo

# A process for each core, each with a Ray cluster of its own where its tests need one; a file's tests stay together.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

test: $(STAMP)  ## the tests, without those marked slow
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" --cov --cov-report=json:.coverage.json --cov-report=
	$(BIN)/python tests/check_coverage.py .coverage.json

test-slow: $(STAMP)  ## the tests marked slow: whole runs, killed drivers, real clips
	$(BIN)/python -m pytest $(PARALLEL) -m "slow and not alone"
	$(BIN)/python -m pytest -m "slow and alone"

lint: $(STAMP) docs  ## ruff, ruff format --check, mypy --strict, and the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)  ## the docs site in build/docs, where any warning is an error
	$(BIN)/mkdocs build --strict

format: $(STAMP)  ## apply ruff's fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(STAMP)  ## run lint before every commit (.pre-commit-config.yaml)
	$(BIN)/pre-commit install

lock: $(STAMP)  ## resolve requirements.lock anew
	$(BIN)/uv pip compile --no-header --no-annotate --universal \
		--python-version 3.11 --extra dev --extra docs --extra s3 --upgrade pyproject.toml -o requirements.lock

clean:  ## remove caches and the virtual environment
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build ./*.egg-info
