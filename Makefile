# Everything a newcomer needs: `make demo`, `make test`. Nothing is installed outside this folder.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
PIP_FLAGS := --disable-pip-version-check --no-deps --require-hashes

.PHONY: help setup demo test soak lint audit docs lock clean

help:  ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup:  ## Both environments, from the hashed locks
	@$(MAKE) --no-print-directory --quiet -j2 .venv/made .venv-superset/made

demo: setup  ## Load the sample fleets, build, gate, publish, and serve the dashboards
	@.venv/bin/fleetmart demo

test: setup lint  ## Lint and all tests; a browser's have the processors for themselves
	demo=$$(mktemp -d) && trap 'rm -rf "$$demo"' EXIT && \
	.venv/bin/python -m pytest --demo-home="$$demo" --numprocesses=2 --ignore=tests/browser --ignore=tests/test_own_work.py && \
	.venv/bin/python -m pytest --demo-home="$$demo" tests/browser tests/test_own_work.py

soak: setup  ## What takes long by nature: kills (docs/soak.md), the gate (docs/soak-gate.md), arrival in any order
	.venv/bin/python -m tests.soak_kills --write docs/soak.md
	.venv/bin/python -m tests.soak_gate --write docs/soak-gate.md
	.venv/bin/python -m pytest --hypothesis-profile=soak --timeout=7200 tests/test_arrival_order.py

lint: .venv/made  ## Style of Python and SQL
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/sqlfluff lint --processes 2 dbt_project/models dbt_project/analyses dbt_project/tests

audit: .venv/made  ## Known vulnerabilities of what both locks install; offline it says that nobody could be asked
	@.venv/bin/python .ci/audit_locks.py

docs: .venv/made  ## Write docs/marts.md from the marts' own YAML, docs/rules.md from the gate's rules
	.venv/bin/python -m orchestration.marts_document docs/marts.md
	.venv/bin/python -m expectations.rules_document docs/rules.md

lock: .venv/made  ## Renew both locks to the newest allowed versions
	.venv/bin/uv pip compile pyproject.toml --extra dev $(LOCK_FLAGS) -o requirements.lock
	.venv/bin/uv pip compile superset/requirements.in $(LOCK_FLAGS) -o superset/requirements.lock
LOCK_FLAGS := --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

clean:  ## Remove both environments; data in var/ stays
	rm -rf .venv .venv-superset

.venv/made: requirements.lock pyproject.toml
	@echo "Setting up .venv: pipeline and tests ($$(grep -c == requirements.lock) packages)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
		|| { echo "Fleetmart needs Python 3.11 or 3.12; $(PYTHON) is another. Choose one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install $(PIP_FLAGS) -r requirements.lock 2>&1 | $(SHOW); test $${PIPESTATUS[0]} -eq 0
	@.venv/bin/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv-superset/made: superset/requirements.lock
	@echo "Setting up .venv-superset: dashboards ($$(grep -c == superset/requirements.lock) packages)"
	@$(PYTHON) -m venv .venv-superset
	@.venv-superset/bin/pip install $(PIP_FLAGS) -r superset/requirements.lock 2>&1 | $(SHOW); test $${PIPESTATUS[0]} -eq 0
	@touch $@

# pip's lines without those that say nothing to a reader.
SHOW := grep --line-buffered -v -E '^ |^WARNING: Location|^Looking in|^Ignoring|already satisfied|Using cached'
