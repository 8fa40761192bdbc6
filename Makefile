PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Layers of dependencies (extras of pyproject.toml) that `make install`, `repro` and `ui` need.
EXTRAS ?= train,infants,tracking

# A file's tests stay in one process; `slow` files are begun first (tests/conftest.py).
PARALLEL := --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help repro test test-all lint docs dist ui install clean

help:  ## what each target does
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/\1\t\2/p' Makefile | expand -t 12

repro: $(VENV)/.has-$(EXTRAS)  ## set right what a kill left, then `dvc repro`
	crywatch repro

test: $(VENV)/.has-test  ## the tests of every change, in as many processes as there are cores (8 at most)
	pytest $(PARALLEL) -m 'not nightly'

test-all: $(VENV)/.has-test  ## these, and what needs servers or rebuilds many times
	pytest $(PARALLEL)

lint: $(VENV)/.has-test  ## style, imports between the rooms, and types
	ruff check src pipelines studies tests benchmarks docs
	ruff format --check src pipelines studies tests benchmarks docs
	lint-imports
	mypy

docs: $(VENV)/.has-docs  ## this documentation as a site, in build/site; a broken link fails
	python docs/build.py

dist: $(VENV)/.has-docs  ## wheel and source archive, in dist
	python -m build --outdir dist .

ui: $(VENV)/.has-$(EXTRAS)  ## the MLflow UI on http://127.0.0.1:5000
	crywatch ui

install: $(VENV)/.has-$(EXTRAS)  ## the environment alone; EXTRAS=... names its layers

# A stamp for each choice of layers; what they share is installed once.
$(VENV)/.has-%: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' \
	  --constraint constraints.txt && \
	echo "environment for $* ready in $$(( $$(date +%s) - start )) s"
	@touch $@

clean:  ## remove what `dvc repro` and the environment made
	rm -rf $(VENV) data/work mlflow.db mlartifacts
