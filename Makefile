# make run    set everything up and open the app
# make test   set everything up and run the whole suite
# make check  style, types and unit tests: under two minutes
# make lint   ruff and mypy
# make docs   build the documentation's site into site/
# make gpu    check methods, memory and time on an accelerator: DEVICE=cuda, under 8 minutes
# make faults break what can be broken, and write docs/reliability.md: an hour or more
PYTHON ?= python3
PORT ?= 8501
DEVICE ?= cuda
OUT ?= gpu
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: run check test lint format docs gpu faults browser postgres screenshots clean

run: $(VENV)/.installed
	$(BIN)/streamlit run app.py --server.port $(PORT)

# More processes than two processors: tests of the engine wait, and others compute meanwhile.
test: $(VENV)/.installed-dev browser postgres
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# Two processes: the machine's processors are shared with nobody, and each starts once.
check: lint
	$(BIN)/python -m pytest -m unit -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev
	$(BIN)/python -m mkdocs build --strict

screenshots: $(VENV)/.installed-dev browser
	$(BIN)/python -m tests.browser.screenshots

gpu: $(VENV)/.installed
	$(BIN)/python -m benchmarks.gpu --device $(DEVICE) --out $(OUT)

faults: $(VENV)/.installed-dev postgres
	$(BIN)/python -m tests.faults.report

browser: $(VENV)/.installed-dev
	$(BIN)/python scripts/ensure_browser.py

postgres: $(VENV)/.installed-dev
	$(BIN)/python scripts/ensure_postgres.py

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.installed: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version): run make with PYTHON=python3.12 or the like."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what the app needs (PyTorch is large: a minute or more) ..."
	$(PIP) -r requirements.txt -c constraints.txt
	@# The first import reads gigabytes from disk: here, and not while somebody waits for a worker.
	$(BIN)/python -c 'import torch, streamlit, plotly, distributed, sqlalchemy'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "Installing what the tests need ..."
	$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@
