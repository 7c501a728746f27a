# `make help` lists the targets. Each makes the virtual environment when it is missing.

PYTHON ?= python3
WORKSPACE ?= demo

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS_INSTALLED := $(VENV)/.installed-tools
PREFECT_INSTALLED := $(VENV)/.installed-prefect
BENCH_INSTALLED := $(VENV)/.installed-bench
# Bytecode is not made at once, as most modules are never loaded; of those that are, it is kept
# whatever the environment says: the tests start hundreds of processes.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check retrain cron flows bench soak accuracy ablation renewal league guide clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10
	@echo "WORKSPACE=FOLDER names the workspace of retrain, cron and flows (now: $(WORKSPACE))"

demo: $(INSTALLED) ## an offline workspace in demo/: init, one forecast, the status screen
	@echo "The demo takes a minute or two: a week of two simulated markets, five trials of the search."
	$(BIN)/cryptocast init -w demo --config demo
	$(BIN)/cryptocast forecast --once -w demo
	$(BIN)/cryptocast status -w demo

test: $(TOOLS_INSTALLED) ## all tests, and which of them took longest
	$(BIN)/python -m pytest -n auto --dist loadfile --durations=10

check: $(TOOLS_INSTALLED) ## lint, formatting, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

retrain: $(INSTALLED) ## renew the model of WORKSPACE from the newest candles; OPTIONS=--flush
	$(BIN)/cryptocast retrain -w '$(WORKSPACE)' $(OPTIONS)

cron: $(INSTALLED) ## print the crontab line that forecasts after each close in WORKSPACE
	@$(BIN)/cryptocast schedule -w '$(WORKSPACE)'

flows: export PREFECT_API_URL := http://127.0.0.1:4200/api
flows: export PREFECT_SERVER_ANALYTICS_ENABLED := false
flows: $(PREFECT_INSTALLED) ## a Prefect server, and the flows of WORKSPACE on it, until Ctrl-C
	test -f '$(WORKSPACE)/cryptocast.toml' || { mkdir -p '$(WORKSPACE)' && cp configs/demo.toml '$(WORKSPACE)/cryptocast.toml'; }
	trap '$(BIN)/prefect server stop' EXIT; trap 'exit 0' INT TERM; \
	$(BIN)/prefect server start --background; \
	for second in $$(seq 180); do $(BIN)/python -c 'import urllib.request as r; r.urlopen("$(PREFECT_API_URL)/health")' 2> /dev/null && break; sleep 1; done; \
	$(BIN)/cryptocast serve-flows -w '$(WORKSPACE)'

bench: $(BENCH_INSTALLED) ## the budgets, as ratios measured in one run (minutes); BENCH_SMOKE=1 only tries each row
	$(BIN)/python tests/benchmarks/bench.py

soak: $(TOOLS_INSTALLED) ## a month of ticks, 200 ticks killed at random, an hour of hostile files and servers, HTTP beside a loop
	$(BIN)/python tests/benchmarks/soak.py
	$(BIN)/python tests/benchmarks/hostile
	$(BIN)/python tests/benchmarks/load.py

accuracy: $(BENCH_INSTALLED) ## score every model on the Parquet files in DATA, tables into tests/benchmarks/results (a quarter of an hour)
	$(BIN)/python tests/benchmarks/accuracy.py $(DATA)

ablation: $(INSTALLED) ## what was tried for the base network, on the files in DATA, tables into tests/benchmarks/results (half an hour)
	$(BIN)/python tests/benchmarks/ablation.py $(DATA)

renewal: $(INSTALLED) ## replay 30 days of files in DATA with and without retraining (an hour)
	$(BIN)/python tests/benchmarks/renewal.py $(DATA)

league: $(INSTALLED) ## fit the shipped paths on the files of 2024 in DATA, judge them on the others (a quarter of an hour)
	$(BIN)/python tests/benchmarks/league.py $(DATA)

guide: $(INSTALLED) ## generate the table of settings in cryptocast/guide/settings.md
	$(BIN)/python tests/support/guide.py

clean: ## remove the virtual environment, caches and the demo
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@echo "Installing cryptocast into $(VENV): 1.9 GB, of which PyTorch without CUDA is 0.7 GB; some minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable .
	touch $@

$(TOOLS_INSTALLED): $(INSTALLED)
	@echo "Installing what tests and checks need besides: 0.3 GB."
	$(PIP_INSTALL) --upgrade 'pip>=25.1'
	$(PIP_INSTALL) --group test --group lint
	touch $@

$(PREFECT_INSTALLED): $(INSTALLED)
	$(PIP_INSTALL) --editable '.[prefect]'
	touch $@

$(BENCH_INSTALLED): $(TOOLS_INSTALLED)
	$(PIP_INSTALL) --group bench
	touch $@
