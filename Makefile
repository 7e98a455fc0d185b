# One entry to everything; `make` alone lists the targets.
#
# The first target that needs Python makes .venv from constraints.txt by itself. `make test VENV=/path/to/venv` uses
# an environment that is there already, as it is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
ifdef VENV
READY := given-venv
else
VENV := .venv
READY := .venv/.ready
endif
BIN := $(abspath $(VENV))/bin
PY := $(BIN)/python
ZEJZL := $(PY) -m zejzl_ray.cli.main
PIP_QUIET := -qq --disable-pip-version-check --no-input

# Child processes of the tests, Ray's workers too, find the code and the coverage plugin by this.
export PYTHONPATH := $(CURDIR)
# No Ray process reports anything to anybody.
export RAY_USAGE_STATS_ENABLED := 0

FLEET := config/fleet.yaml
PORT_MATRIX := docs/PORT_ALLOCATION_MATRIX.md
say := @printf '==> %s\n'

.PHONY: help setup given-venv up down status check check-ports check-security audit test test-unit test-contract test-security test-cluster test-hosts test-hosts-long \
	test-gpu bench bench-bus bench-chaos soak chaos ports docs pins secrets-baseline format clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- set-up ----------------------------------------------------------------------------------------------------------

setup: $(READY) ## make .venv with everything that the project needs

.venv/.ready: pyproject.toml constraints.txt
	$(say) 'set-up: .venv (about a minute)'
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON); install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
		sys.exit(None if v >= (3, 11) else f"error: $(PYTHON) is Python {v[0]}.{v[1]}; 3.11 or newer is needed: " \
		"name one with make PYTHON=...")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "error: $(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@[ -x .venv/bin/python ] || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install $(PIP_QUIET) -c constraints.txt -e '.[dev]'
	@touch $@

given-venv:
	@[ -x $(PY) ] || { echo "error: VENV=$(VENV) holds no Python; leave VENV out to have .venv made" >&2; exit 1; }

# --- the system on this machine --------------------------------------------------------------------------------------

up: $(READY) ## start the whole system on this machine
	@$(ZEJZL) up

down: $(READY) ## stop it
	@$(ZEJZL) down

status: $(READY) ## show machines, services and agents
	@$(ZEJZL) status

# --- checks ----------------------------------------------------------------------------------------------------------

check: $(READY) ## everything that is checked without running the tests
	$(say) 'format: ruff format'
	@$(BIN)/ruff format --check --output-format concise . || { echo 'error: run `make format`' >&2; exit 1; }
	$(say) 'lint: ruff check'
	@$(BIN)/ruff check --quiet --output-format concise .
	$(say) 'types: mypy --strict'
	@$(BIN)/mypy --no-error-summary
	$(say) 'imports: import-linter'
	@report=$$(COLUMNS=150 $(BIN)/lint-imports --no-logo) || { echo "$$report" >&2; exit 1; }; \
		echo "$$report" | grep -E 'KEPT|BROKEN|^Contracts:'
	$(say) 'documentation: generated pages are not stale'
	@$(PY) tools/generate_docs.py --check
	@$(PY) -m tools.generate_deploy --check
	@$(MAKE) check-ports VENV='$(VENV)'
	@$(MAKE) check-security VENV='$(VENV)'
	$(say) 'house: names, sizes, links, preservation table'
	@$(PY) -m pytest -q --no-header -p no:cacheprovider --durations=0 --durations-min=10 tests/unit/test_house.py
	$(say) 'wheel: builds and holds what it should'
	@$(PY) tools/check_wheel.py
	@echo 'check: all well'

check-security: $(READY) ## bandit over the code that ships, and no secret in any file
	$(say) 'security: bandit'
	@# what it says of a nosec on a line with several texts is no finding
	@$(PY) -m bandit --quiet -c pyproject.toml --recursive zejzl_ray actors serve_apps \
		2> >(grep -vE 'nosec encountered \(B[0-9]+\), but no failed test' >&2)
	$(say) 'security: no secret in any file'
	@$(PY) tools/scan_secrets.py

# Not part of check: what is known of packages changes overnight, and it needs the network.
audit: $(READY) ## known faults of the packages that are pinned (needs the extra audit)
	@$(PY) -c 'import pip_audit' 2>/dev/null || { echo "error: pip-audit is not here; get it with: \
	$(PY) -m pip install '.[audit]'" >&2; exit 1; }
	$(say) 'security: known faults of the pinned packages'
	@# strict: a package that the index says nothing of is a failure and no pass
	@$(PY) -m pip_audit --strict --requirement constraints.txt --no-deps --disable-pip

check-ports: $(READY) ## the fleet has no fault, no port twice, and the port matrix is not stale
	$(say) 'fleet: validator, port conflicts'
	@$(ZEJZL) fleet validate $(FLEET)
	@for name in dev staging prod; do $(ZEJZL) fleet validate --overlay $$name $(FLEET); done
	$(say) 'ports: matrix is not stale'
	@$(ZEJZL) fleet ports --check $(PORT_MATRIX) $(FLEET)

format: $(READY) ## format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

# --- tests -----------------------------------------------------------------------------------------------------------

test: $(READY) ## unit, contract, security and cluster tests, with both coverage gates
	$(say) 'tests: unit, contract, security'
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest -q tests/unit tests/contract tests/security $(ARGS)
	$(say) 'tests: cluster' # a process of its own: Ray reads its environment when it is imported
	@$(PY) -m coverage run -m pytest -q tests/cluster $(ARGS)
	$(say) 'coverage: library and whole'
	@$(PY) -m coverage combine --quiet
	@mkdir -p build
	@$(PY) -m coverage json --quiet -o build/coverage.json
	@$(PY) tools/coverage_gates.py build/coverage.json

test-unit: $(READY) ## unit tests only; ARGS='-k name' goes to pytest
	@$(PY) -m pytest -q tests/unit $(ARGS)

test-contract: $(READY) ## every implementation of a protocol against its one suite
	@$(PY) -m pytest -q tests/contract $(ARGS)

test-security: $(READY) ## the attack corpus, and that each check is needed
	@$(PY) -m pytest -q tests/security $(ARGS)

test-cluster: $(READY) ## what only a real Ray cluster shows
	@$(PY) -m pytest -q tests/cluster $(ARGS)

test-hosts: $(READY) ## two hosts in namespaces of this machine (root; skipped otherwise)
	@if [ "$$(id -u)" -eq 0 ]; then sh tests/hosts/prerequisites.sh; \
		else echo 'test-hosts: not root, so the tests of two hosts are skipped'; fi
	@$(PY) -m pytest -q tests/hosts --ignore=tests/hosts/long $(ARGS)

test-hosts-long: $(READY) ## what takes minutes on two hosts: takeover, an installation, an upgrade and the way back (root)
	@if [ "$$(id -u)" -eq 0 ]; then sh tests/hosts/prerequisites.sh; fi
	@$(PY) -m pytest -q tests/hosts/long $(ARGS)

test-gpu: $(READY) ## a real NVIDIA card (skipped where there is none)
	@$(PY) -m pytest -q -c tests/gpu/pytest.ini --rootdir=. tests/gpu $(ARGS)

bench: $(READY) ## the numbers of the README
	@for file in $$(grep -l '__main__' benchmarks/*.py | grep -vE '/(soak|bus_chaos|cluster_chaos|full_cpu|failover|ray_up_time).py$$'); do \
		name=$$(basename $$file .py); printf '==> benchmark: %s\n' $$name; $(PY) -m benchmarks.$$name $(ARGS); \
	done

bench-bus: $(READY) ## the message bus against other ways to carry mail; ARGS='--rows local-rate --pairs 3'
	@$(PY) -m benchmarks.bus $(ARGS)

bench-chaos: $(READY) ## mail while processes are killed, and an account of every message; ARGS='--minutes 2 --rate 5000'
	@$(PY) -m benchmarks.bus_chaos $(ARGS)

soak: $(READY) ## an hour of mixed mail, and the memory of every process; ARGS='--minutes 5'
	@$(PY) -m benchmarks.soak $(ARGS)

chaos: $(READY) ## random kills on two hosts while clients write, for 30 minutes (root); MINUTES=3 for less
	@sh tests/hosts/prerequisites.sh
	@$(PY) -m benchmarks.cluster_chaos --minutes $(or $(MINUTES),30) $(ARGS)

# --- generated files -------------------------------------------------------------------------------------------------

docs: $(READY) ## write the generated references and the port matrix
	@$(PY) tools/generate_docs.py
	@$(PY) -m tools.generate_deploy
	@$(ZEJZL) fleet ports $(FLEET) > $(PORT_MATRIX).new && mv $(PORT_MATRIX).new $(PORT_MATRIX)

ports: $(READY) ## show the port matrix
	@$(ZEJZL) fleet ports $(FLEET)

secrets-baseline: $(READY) ## after a look at each place: what looks like a secret and is none
	@$(PY) tools/scan_secrets.py --update

pins: $(READY) ## write constraints.txt from this environment
	@$(PY) tools/pin_constraints.py

clean: ## remove what make made
	@rm -rf .venv build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
