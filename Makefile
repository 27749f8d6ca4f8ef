# make run            set up, write a demo store, open the explorer on it
# make run DB=path    open yours;  GRAPHS=langgraph.json replays its graphs;  ARGS="--port 0" goes to the command
# make test           set up everything and run every check and test
# make bench          print the speed of the savers, the store layer, the pages and replays
# make clean          remove what these made

SHELL := /bin/bash
# The first interpreter that runs and is new enough; a name on the PATH may be a shim of a missing version.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
DB ?= demo.sqlite
GRAPHS ?=
ARGS ?=

DEMO_GRAPHS := --graph support=explorer.demo.graphs:support --graph research=explorer.demo.graphs:research

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: run test bench clean
.DELETE_ON_ERROR:

run: $(VENV)/.run $(filter demo.sqlite,$(DB))
	$(BIN)/checkpoint-explorer "$(DB)" $(if $(filter demo.sqlite,$(DB)),$(DEMO_GRAPHS)) \
		$(if $(GRAPHS),--graphs "$(GRAPHS)") $(ARGS)

test: $(VENV)/.test $(VENV)/.browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis demo.sqlite demo.sqlite-*

demo.sqlite: | $(VENV)/.run
	$(BIN)/python manage.py demo $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=path/to/python"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || { $(call apt,python3-venv) && $(PYTHON) -m venv --clear $(VENV); }
	$(PIP) install --upgrade "pip>=25.1"

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) install --editable ".[demo,postgres]"
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) install --upgrade "pip>=25.1"
	$(PIP) install --editable ".[demo,aes,postgres]" --group dev
	touch $@ $(VENV)/.run

$(VENV)/.browser: | $(VENV)/.test
	for name in chromium chromium-browser google-chrome; do command -v $$name && exit; done; \
		$(call apt,chromium) || $(BIN)/playwright install chromium
	touch $@

# Install a Debian package where that is possible.
apt = { test "$$(id -u)" = 0 && command -v apt-get && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -qqy $(1); }
