# make run   start Slipway on this machine       make test   every test
# make lint  format, lint and types              make lock   refresh the pinned requirements
.DEFAULT_GOAL := help
.PHONY: help run test lint format lock bench clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCKED := requirements/run.txt
LOCKED_DEV := requirements/dev.txt

help:
	@sed -n 's/^# //p' Makefile

$(VENV)/.installed-run: $(LOCKED) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Slipway needs Python 3.11 or newer: set PYTHON=python3.11 (or newer) and call make again.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Slipway into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCKED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(LOCKED_DEV) $(VENV)/.installed-run
	@echo "Installing the tools of tests and lint into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCKED_DEV)
	@touch $@

run: $(VENV)/.installed-run
	@$(BIN)/slipway run

test: $(VENV)/.installed-dev
	@$(PYTHON) tests/system_packages.py
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile tests/unit tests/integration
	@$(BIN)/python -m pytest tests/e2e

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/yamllint --strict .

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev
	@$(PYTHON) tests/system_packages.py wrk redis-server
	@$(BIN)/python bench/http.py

UV_COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml
lock:
	$(UV_COMPILE) --output-file requirements/service.txt
	$(UV_COMPILE) --extra embedded --constraint requirements/service.txt --output-file requirements/run.txt
	$(UV_COMPILE) --extra embedded --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
