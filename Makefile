# Each target works alone on a fresh clone: it makes .venv and installs what is missing, and is quick when it is there.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3.11
PYTHON := $(shell command -v $(PYTHON) || command -v python3)
SIZE ?= medium
# What is timed with nothing but this repository; the others want a checkout of their peer, as their first lines say.
BENCHES := render attention context export gallery ingest match_bands service fuzzing shipped tables
# Spinning threads on a shared core slow everything tenfold.
TEST_ENV := OMP_WAIT_POLICY=PASSIVE PYTHONHASHSEED=0

.PHONY: demo test lint format bench clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check uv -c constraints.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --editable '.[train,export,viz,video,serve,dev]' --constraints constraints.txt
	touch $@

demo: $(STAMP)
	$(BIN)/passerby demo --size $(SIZE)

test: $(STAMP)
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -yqq --no-install-recommends chromium) \
		|| echo 'no chromium: tests of the page in a real browser are left out'
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/inference.py street
	for name in $(BENCHES); do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) demo runs .pytest_cache .ruff_cache
