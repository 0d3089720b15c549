# `make demo` shows the system at work, `make test` checks all of it; both set up what they need.
# `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
# Half of a test's time is waiting, so two processes share the files; each has its own servers.
WORKERS ?= 2
PYTEST_PARALLEL := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
SOURCES := contracts libs services examples tests conftest.py
LINESHAFT := $(BIN)/lineshaft
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv from the locked requirements (the others do it first)
	@$(PYTHON) libs/cli/bootstrap.py

.PHONY: up
up: setup ## Start the system on this machine; returns when all of it is ready
	@$(LINESHAFT) up

.PHONY: demo
demo: up ## Start the system and run a plant's shift through it
	@$(LINESHAFT) demo

.PHONY: down
down: setup ## Stop the system; its data stays
	@$(LINESHAFT) down

.PHONY: status
status: setup ## Show each process: state, memory, CPU, restarts, address
	@$(LINESHAFT) status

.PHONY: logs
logs: setup ## Follow a process's log: make logs PROCESS=gateway
	@$(LINESHAFT) logs $(or $(PROCESS),supervisor) --follow

.PHONY: clean
clean: setup ## Stop the system and delete its data, logs and passwords
	@$(LINESHAFT) clean

.PHONY: test
test: lint ## Run every check and every test
	@$(PYTEST_PARALLEL)

.PHONY: test-unit
test-unit: setup ## Run the tests that need no server (seconds)
	@$(PYTEST_PARALLEL) -q -m "not integration and not chaos"

.PHONY: bench
bench: setup ## Measure jobs beside other engines; others: make bench BENCH=events ARGS="--rounds 3"
	@PYTHONPATH=tests $(BIN)/python -m bench $(or $(BENCH),jobs) $(ARGS)

.PHONY: chaos
chaos: setup ## Kill, freeze and cut off the engine again and again: make chaos ROUNDS=20
	@LINESHAFT_CHAOS_ROUNDS=$(or $(ROUNDS),20) $(BIN)/pytest -m chaos tests/chaos/test_job_runner.py tests/chaos/test_job_surroundings.py

.PHONY: lint
lint: setup ## Check style, format, types, import rules and what is generated from the contracts
	@$(MAKE) --no-print-directory -j 2 --output-sync style types import-rules contracts-verified

.PHONY: style
style:
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES)

.PHONY: types
types:
	@$(BIN)/pyright

.PHONY: import-rules
import-rules:
	@$(BIN)/lint-imports --no-logo

.PHONY: contracts-verified
contracts-verified: setup
	@$(BIN)/python -m lineshaft_contracts verify

.PHONY: format
format: setup ## Rewrite the sources in the project's format
	@$(BIN)/ruff check --quiet --fix $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

.PHONY: lock
lock: setup ## Write requirements.lock from requirements.in: hashes, but no addresses
	@$(BIN)/uv pip compile requirements.in --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

.PHONY: compose-files
compose-files: setup ## Write .env and the secrets of docker-compose.yml, with random passwords
	@$(LINESHAFT) compose-files

.PHONY: compose-test
compose-test: compose-files ## Run the integration tests against the compose file's servers
	@docker compose up --detach --wait rabbitmq postgres
	@eval "$$($(LINESHAFT) env --directory .lineshaft/compose)" && $(BIN)/pytest -m integration
