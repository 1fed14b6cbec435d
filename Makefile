# The targets a user and CI run; `make help` lists them. `make demo` and `make test` each set everything up on a fresh
# machine.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo help test lint types tests parity gpu android ios scale scale-peer bench tiny-pair clean

TINY := --target tests/data/tiny/target --drafter tests/data/tiny/drafter

demo: $(STAMP)  ## export the tiny pair, inspect it, run it with MTP in LiteRT-LM and in our runner, prove it
	mkdir -p build
	$(BIN)/edge-mtp export tests/data/tiny/target tests/data/tiny/drafter --output build/tiny.litertlm --overwrite
	$(BIN)/edge-mtp inspect build/tiny.litertlm
	$(BIN)/edge-mtp run build/tiny.litertlm --chat --prompt 'What is `os.lockf`?' --max-tokens 48 --engine
	$(BIN)/edge-mtp run build/tiny.litertlm --chat --prompt 'What is `os.lockf`?' --max-tokens 48
	$(BIN)/edge-mtp parity build/tiny.litertlm $(TINY) --output build/report --per-suite 3 --max-tokens 32

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

test: lint types tests  ## lint, types and tests of everything in Python; CI runs android and ios after it

lint: $(STAMP)  ## ruff check, ruff format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

tests: $(STAMP)  ## pytest
	$(BIN)/pytest

parity: $(STAMP)  ## the whole ladder on all 144 prompts; after make demo
	$(BIN)/edge-mtp parity build/tiny.litertlm $(TINY) --output build/report

# Without a GPU a CPU Vulkan driver does: Debian's chromium has one that LiteRT-LM accepts.
gpu: $(STAMP)  ## the GPU backend against the CPU, MTP off and on, in four formats; slow without a GPU
	ldconfig -p | grep -q libvulkan || apt-get install -y -qq libvulkan1
	ls /usr/share/vulkan/icd.d/*nvidia* /usr/lib/chromium/vk_swiftshader_icd.json >/dev/null 2>&1 \
	  || apt-get install -y -qq --no-install-recommends chromium
	$(BIN)/python -m tests.gpu

# Google's Maven is not needed: a Kotlin compiler from npm, the rest from Debian, all in a cache outside the repository.
android:  ## the Android app: lint, compile, simulate phones, check against the API, package and sign it
	$(PYTHON) -m android_demo.tools

# Swift comes from PATH, or from a Debian tree that is made once (a minute, 560 MB) outside the repository.
ios: $(STAMP) build/tiny.litertlm  ## the iOS app: format, tests of kit and adapter with the real runtime, type check
	ios_demo/tools/check.sh $(BIN)/python build/tiny.litertlm

build/tiny.litertlm:
	mkdir -p build
	$(BIN)/edge-mtp export tests/data/tiny/target tests/data/tiny/drafter --output $@

scale: $(STAMP)  ## real-shape synthetic E2B and E4B: time, memory, size, engine speed; 45 GB of disk
	$(BIN)/python -m tests.scale

scale-peer: $(STAMP) build/peer-venv/.installed  ## the stock exporter beside ours, on a shape both can hold
	$(BIN)/python -m tests.scale.peer --peer-python build/peer-venv/bin/python

# The stock exporter needs tensorflow, which has no place in our own environment.
build/peer-venv/.installed: tests/scale/peer-requirements.txt
	$(PYTHON) -m venv build/peer-venv
	build/peer-venv/bin/pip install --quiet torch==2.13.0
	build/peer-venv/bin/pip install --quiet --requirement $<
	touch $@

tiny-pair: $(STAMP)  ## train the tiny pair anew; about 40 minutes on 2 cores
	$(BIN)/python -m tests.tiny_pair.make

bench: $(STAMP)  ## quantizer throughput by format; our runner beside the engine on the synthetic E2B; 20 GB
	$(BIN)/python -m tests.convert.bench_quantize
	$(BIN)/python -m tests.scale.runner

# torch first and by its exact pin: pip would otherwise take a CUDA build of several gigabytes.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("edge_mtp needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:  ## take build and the environment away
	rm -rf build $(VENV)
