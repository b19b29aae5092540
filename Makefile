# Bootstraps .venv from the hash-pinned lock, then hands over to hatch, which holds the list of
# project commands ([tool.hatch.envs.default.scripts] in pyproject.toml).
# Needs GNU make, git and Python 3.11–3.13; `make PYTHON=/path/to/python` chooses one.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/hatch run
READY := $(VENV)/.dev $(VENV)/.editable
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

# A broken .venv (say, its Python was removed) is made anew; a usable one is never cleared.
ifneq ($(shell $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null && echo usable),usable)
.PHONY: $(VENV)/.created
endif

.PHONY: help install demo test lint fmt types contracts docs bench build lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

install: $(READY) ## Bootstrap .venv with everything a developer needs
	@echo "Ready: $(BIN)/pynomaly --help, or '. $(BIN)/activate'."

demo: $(VENV)/.runtime $(VENV)/.editable ## Run the whole lifecycle on real data, under Prefect
	@$(BIN)/pynomaly demo

test: $(READY) ## Run the whole test suite
	@$(RUN) test

lint: $(READY) ## Check style and formatting
	@$(RUN) lint

fmt: $(READY) ## Fix style and formatting
	@$(RUN) fmt

types: $(READY) ## Check types
	@$(RUN) types

contracts: $(READY) ## Check the import contracts
	@$(RUN) contracts

docs: $(READY) ## Build the documentation into site/, strictly
	@$(RUN) docs

bench: $(READY) ## Measure what the platform adds to tuning, training and scoring
	@$(RUN) bench

build: $(READY) ## Build wheel and sdist into dist/
	@$(RUN) build

lock: $(READY) ## Resolve both lock files again
	@$(RUN) lock

clean: ## Remove .venv, builds and caches; your data and .pynomaly stay
	rm -rf $(VENV) dist site htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src flows tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- bootstrap: each stamp says "this has been installed", so a second run costs nothing ---

$(VENV)/.created:
	@if $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null; then touch $@; exit 0; fi; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  if "$$python" -c '$(SUPPORTED)' >/dev/null 2>&1; then \
	    echo "Creating $(VENV) with $$("$$python" --version) ($$python)"; \
	    "$$python" -m venv --clear $(VENV) && touch $@ && exit 0; \
	    exit 1; \
	  fi; \
	done; \
	echo "Pynomaly needs Python 3.11, 3.12 or 3.13 with the venv module, and found none." >&2; \
	echo "  → Install one (Debian: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python" >&2; \
	exit 1

# uv itself comes through pip, pinned by hash like everything else.
$(VENV)/.uv: requirements.lock $(VENV)/.created
	@awk '/^uv==/ { on = 1 } on; on && !/\\$$/ { exit }' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt
	@touch $@

$(VENV)/.runtime: requirements.lock $(VENV)/.uv
	$(call install_lock,requirements.lock)
	@touch $@

# The development lock contains the runtime lock, so it satisfies `make demo` too.
$(VENV)/.dev: requirements-dev.lock $(VENV)/.uv
	$(call install_lock,requirements-dev.lock)
	@touch $(VENV)/.runtime $@

$(VENV)/.editable: pyproject.toml $(VENV)/.created
	@$(BIN)/uv pip install --quiet --offline --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# uv takes under a minute where pip takes minutes, but does not read pip's configuration (private
# indexes, certificates); where it cannot install, pip does, with the same hashes.
define install_lock
	@echo "Installing $(1): about a minute and 1.3 GB, the first time"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --no-deps -r $(1) || { \
	  echo "uv could not install (see above). Using pip instead: about five minutes." >&2; \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r $(1); }
endef
