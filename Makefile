# Everything runs in .venv, installed from the hashed requirements when they change.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
# For commands that need settings and no servers.
MANAGE := DEBUG=true PYTHONWARNINGS=ignore::RuntimeWarning $(BIN)/python manage.py
TEMPLATES := $(wildcard templates */templates)

.DEFAULT_GOAL := help
.PHONY: help run test verify chaos bench check format

help:  ## show the commands
	@sed -n 's/^\([a-z-]*\):.*  ## /make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

run: .venv/installed  ## run the whole shop (PORT, DATA_DIR, DATABASE_URL, REDIS_URL, WORKERS); Ctrl-C stops it
	@exec $(BIN)/python manage.py up

# Two at a time, each with servers of its own. A queue that is given can serve one only.
two-at-a-time = $(if $(REDIS_URL),,-n 2 --dist $(1))

test: .venv/installed-dev  ## run the tests, on servers of their own
	$(BIN)/pytest $(call two-at-a-time,loadfile)

verify: .venv/installed-dev  ## break every plan at every boundary it has, all cases (SEED); half an hour
	VERIFY=full $(if $(SEED),VERIFY_SEED=$(SEED)) $(BIN)/pytest -m verify $(call two-at-a-time,load)

chaos: .venv/installed-dev  ## break the running shop for SECONDS (SEED, ORDERS_PER_SECOND, WORKERS), then audit it
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) \
		$(if $(ORDERS_PER_SECOND),--orders-per-second $(ORDERS_PER_SECOND)) $(if $(WORKERS),--workers $(WORKERS))

# What both tables take: the variables that were given, as they were given.
SIZES := $(foreach name,ONLY CONTENDERS ROUNDS SAGAS SLOW,$(if $($(name)),$(name)='$($(name))'))

bench: .venv/installed-dev  ## measure against plain loops (ONLY, CONTENDERS, ROUNDS, SAGAS, SLOW); more: python -m benchmarks.{backlog,crowding,growth,slow_bank,starting,two_phase_commit}
	@$(SIZES) $(BIN)/python -m benchmarks

bench-peers: .venv/installed-dev .venv-peers/installed  ## measure against other tools (the same variables), installed beside
	@$(if $(CONTENDERS),,CONTENDERS=django,ours,peers) RESULTS=benchmarks/results/peers $(SIZES) $(BIN)/python -m benchmarks

check: .venv/installed-dev  ## format, lint, types, import contracts, migrations, templates, system checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MANAGE) makemigrations --check --dry-run
	$(if $(TEMPLATES),$(BIN)/djlint --quiet --lint $(TEMPLATES))
	$(MANAGE) check --fail-level WARNING

format: .venv/installed-dev  ## let the tools repair what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(TEMPLATES),$(BIN)/djlint --quiet --reformat $(TEMPLATES))

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/installed: requirements.txt | .venv/created
	$(INSTALL) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt | .venv/created
	$(INSTALL) -r requirements-dev.txt
	@touch .venv/installed $@

# What is measured beside the engine. Without npm there is no Restate, and the table says so.
.venv-peers/installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	-npm install --silent --no-audit --no-fund --ignore-scripts --prefix .venv-peers/restate @restatedev/restate-server@1.7.12
	@touch $@
