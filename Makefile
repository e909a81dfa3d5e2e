# Daily commands. `make` alone lists them. Every target that needs Python makes .venv first, from
# requirements.lock, and makes it again when the lock file, setup.py or the directory has changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MADE_FROM := $(shell { cat requirements.lock setup.py; pwd; } | sha256sum | cut -c1-16)
ENVIRONMENT := $(VENV)/made-from-$(MADE_FROM)

# Without byte code every import takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
# uv does not read pip's variables: a package mirror set for pip must hold for both.
export UV_HTTP_TIMEOUT ?= 180
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

.PHONY: help environment demo up down status ingest run-etl test browser observability-tools redis lint bench lock editor clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

environment: $(ENVIRONMENT) ## Make .venv from requirements.lock, if it is not up to date

$(ENVIRONMENT):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing. Install Python 3.11 with its venv module" \
	  "(Debian 12: apt-get install python3.11-venv), or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11, which the locked packages are chosen for" >&2; exit 1; }
	@echo "Making .venv from requirements.lock"
	@if [ "$$(cat $(VENV)/made-in 2>/dev/null)" != "$(CURDIR)" ]; then \
	  $(PYTHON) -m venv --clear $(VENV) || { echo "Without venv and ensurepip no environment can be made" \
	    "(Debian 12: apt-get install python3.11-venv)" >&2; exit 1; }; \
	  echo "$(CURDIR)" > $(VENV)/made-in; \
	fi
	@rm -f $(VENV)/made-from-*
	@# uv itself comes from the lock file too, checked against its hashes.
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	  -r $(VENV)/uv.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(ENVIRONMENT) ## Start everything, send 200,000 events through it, print the account
	@$(BIN)/wotr demo

up: $(ENVIRONMENT) ## Start all servers and the Dagster UI; safe to call twice
	@$(BIN)/wotr up

down: $(ENVIRONMENT) ## Stop what `make up` or `make demo` started; keeps all data
	@$(BIN)/wotr down

status: $(ENVIRONMENT) ## Say what runs, where, and how to reach it
	@$(BIN)/wotr status

ingest: $(ENVIRONMENT) ## Send a file of events to the topic: make ingest FILE=events.ndjson (or .json, .csv)
	@[ -n "$(FILE)" ] || { echo "Which file? make ingest FILE=events.ndjson" >&2; exit 2; }
	@$(BIN)/wotr ingest "$(FILE)"

run-etl: $(ENVIRONMENT) ## Process everything that is in Kafka now, without waiting for the sensor
	@$(BIN)/wotr run-etl

test: $(ENVIRONMENT) ## Run the tests; pytest's options: make test ARGS="-k ledger"
	@$(BIN)/pytest $(ARGS)

browser: ## Install Chromium for the browser tests where that is possible (Debian, as root)
	@if command -v chromium >/dev/null; then \
	  echo "Chromium is there: $$(command -v chromium)"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get install --yes --no-install-recommends chromium fonts-liberation \
	    || { apt-get update && apt-get install --yes --no-install-recommends chromium fonts-liberation; }; \
	else \
	  echo "Chromium is missing and cannot be installed from here: the browser tests will be skipped." \
	    "To run them, install it as root (Debian: apt-get install chromium)."; \
	fi

observability-tools: ## Install Prometheus and Alertmanager for the tests of observability/ (Debian, as root)
	@if command -v promtool >/dev/null && command -v amtool >/dev/null; then \
	  echo "Prometheus and Alertmanager are there: $$(command -v promtool) $$(command -v amtool)"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  if [ ! -e /usr/sbin/policy-rc.d ]; then \
	    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; \
	    trap 'rm /usr/sbin/policy-rc.d' EXIT; : "The tests want the programs, not the services."; \
	  fi; \
	  apt-get install --yes --no-install-recommends prometheus prometheus-alertmanager \
	    || { apt-get update && apt-get install --yes --no-install-recommends prometheus prometheus-alertmanager; }; \
	else \
	  echo "Prometheus is missing and cannot be installed from here: the tests of alerts will be skipped." \
	    "To run them, install it as root (Debian: apt-get install prometheus prometheus-alertmanager)."; \
	fi

redis: ## Install Redis for the test of the Celery executor (Debian, as root)
	@if command -v redis-server >/dev/null; then \
	  echo "Redis is there: $$(command -v redis-server)"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  if [ ! -e /usr/sbin/policy-rc.d ]; then \
	    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; \
	    trap 'rm /usr/sbin/policy-rc.d' EXIT; : "The test wants the program, not the service."; \
	  fi; \
	  apt-get install --yes --no-install-recommends redis-server \
	    || { apt-get update && apt-get install --yes --no-install-recommends redis-server; }; \
	else \
	  echo "Redis is missing and cannot be installed from here: the test of the Celery executor will be" \
	    "skipped. To run it, install it as root (Debian: apt-get install redis-server)."; \
	fi

lint: $(ENVIRONMENT) ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(ENVIRONMENT) ## Measure the whole path against the engine's ceiling; writes docs/performance.md
	@$(BIN)/python -m benchmarks

# The chosen versions stay as they are unless setup.py forbids them; UPGRADE=1 chooses anew.
lock: $(ENVIRONMENT) ## Write requirements.lock from setup.py: make lock [UPGRADE=1]
	@$(BIN)/uv pip compile setup.py --all-extras --generate-hashes --python-version 3.11 --quiet \
	  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --output-file requirements.lock

# The bundle is committed: only a change of deploy/editor/ needs node and npm.
editor: ## Bundle the explorer's SQL editor from deploy/editor/ into the gateway's static files
	@cd deploy/editor && npm ci --ignore-scripts --no-audit --no-fund --silent && npm run --silent build

clean: ## Remove .venv and caches; never data
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find wotr_pipeline wotr_pipeline_tests benchmarks -type d -name __pycache__ -exec rm -rf {} +
