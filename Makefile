# make demo   set up everything and run the embedded default: prompts to results/fairness.csv and report
# make test   set up everything and run the tests
# make lint   style of workflow and code        make prune   list shards no config asks for
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
# Test processes. Each takes whole files of tests, in the order of tests/conftest.py.
WORKERS ?= 2
# GPU jobs at a time; with 0 the jobs that could use one run side by side on the CPU.
GPUS ?= $(shell nvidia-smi -L 2>/dev/null | grep -c GPU)

# Byte code is written on first import (pip is told to leave it), so that hundreds of short jobs start fast.
unexport PYTHONDONTWRITEBYTECODE

# Makes `python -m evenface` work in the environment, from any folder.
FINDS_EVENFACE := import pathlib, sysconfig; \
  pathlib.Path(sysconfig.get_path("purelib"), "evenface.pth").write_text("$(CURDIR)/workflow_scripts\n")

.PHONY: demo test lint prune setup setup-dev
.DELETE_ON_ERROR:

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "evenface needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt Makefile | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -c '$(FINDS_EVENFACE)'
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores $(CORES) --resources=gpu=$(GPUS) results/fairness.csv results/report.html
	@echo "results/fairness.csv and results/report.html are ready"

test: setup-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -n $(WORKERS) --dist=loadfile --no-loadscope-reorder

lint: setup-dev
	$(BIN)/snakefmt --check Snakefile rules
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint -s rules/text_to_face/Snakefile
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint -s rules/latent/Snakefile
	$(BIN)/ruff check workflow_scripts tests benchmarks docs
	$(BIN)/ruff format --check workflow_scripts tests benchmarks docs

prune: setup
	$(BIN)/python -m evenface prune
