# Everything that a checkout needs goes into .venv; nothing is installed elsewhere.
# PYTHON chooses the interpreter that .venv is made of: make PYTHON=python3.13 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := proto mfn_model mfn_signing mfn_core mfn_grpc mfn_client mfn $(patsubst %/pyproject.toml,%,$(wildcard mfn_plugins/*/pyproject.toml))
MODULES := mfn_proto mfn_model mfn_signing mfn_core mfn_grpc mfn_client mfn $(foreach p,$(wildcard mfn_plugins/*),$(notdir $(wildcard $(p)/src/mfn_*)))
STAMP := $(VENV)/.installed
BUF := $(CURDIR)/tests/e2e/node/node_modules/.bin/buf
WORKERS ?= auto
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-interop test-browser check lint types serve bench proto lint-proto accept-proto accept-api format requirements clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | awk -F'\t' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv and install every package and tool into it

# A package that has come or gone since is installed or uninstalled.
INSTALLED := $(shell cat $(VENV)/.packages 2>/dev/null)
ifneq ($(INSTALLED),$(PACKAGES))
.PHONY: $(STAMP)
endif

$(STAMP): requirements-dev.txt $(addsuffix /pyproject.toml,$(PACKAGES))
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"MFN needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}; run: make clean; make PYTHON=python3.13 setup")'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements-dev.txt | sed 's/ *;.*//')"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-sources --no-deps $(addprefix -e ,$(PACKAGES))
	@for gone in $(subst _,-,$(notdir $(filter-out $(PACKAGES),$(INSTALLED)))); do $(BIN)/uv pip uninstall --quiet --python $(BIN)/python mfn-$$gone; done
	@echo $(PACKAGES) > $(VENV)/.packages
	@touch $@

demo: setup ## Assemble a server, call it over both transports, draw the field, verify the audit
	@$(BIN)/python examples/demo.py

test: setup ## Run the tests
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not interop and not browser" $(TESTS)

test-slow: setup ## Run the tests that take long
	$(BIN)/python -m pytest -n $(WORKERS) -m slow $(TESTS)

test-interop: setup ## Run the tests with clients in another language; installs node, npm and their packages
	@sh tests/e2e/install.sh
	$(BIN)/python -m pytest -m interop $(TESTS)

test-browser: setup ## Run the tests in a real browser; installs Chromium, node, npm and packages
	@sh tests/e2e/install.sh chromium
	$(BIN)/python -m pytest -m browser $(TESTS)

check: lint types ## Lint, formatting, types, architecture
	$(BIN)/python -m pytest -q -p no:xdist tests/architecture

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy $(foreach m,$(MODULES),-p $(m))

serve: setup ## Serve on loopback with a fresh key
	$(BIN)/mfn serve

bench: setup ## Measure, and print ratios against stated peers
	@for script in bench/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

proto: setup ## Generate the code of the .proto files again
	$(BIN)/python proto/generate.py

lint-proto: setup ## Lint the .proto files, and compare them with proto/baseline.binpb, with buf, which npm brings
	@sh tests/e2e/install.sh
	cd proto && $(BUF) lint
	cd proto && $(BUF) build -o -#format=binpb | $(BUF) breaking -#format=binpb --against baseline.binpb --exclude-imports

accept-proto: lint-proto ## Make the .proto files as they are what lint-proto compares with
	cd proto && $(BUF) build --exclude-source-info -o baseline.binpb

accept-api: setup ## Add what is new in the plugin API to its list, which make check compares the code with
	$(BIN)/python mfn_core/api/generate.py --write

format: setup ## Format the code
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

requirements: setup ## Pin requirements-dev.txt afresh
	$(BIN)/uv lock --quiet --upgrade
	$(BIN)/uv export --quiet --no-hashes --no-emit-workspace --no-header --no-annotate --all-packages --all-extras --group dev --format requirements.txt --output-file requirements-dev.txt
	@rm -f uv.lock

clean: ## Remove .venv and everything generated
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist demo node_modules tests/e2e/node/node_modules
