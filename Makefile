# `make help` lists the targets. Every target installs what it needs, once, into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   ?= demo
# A file's tests share what they make, so that a file stays in one process. One thread each. Files go
# out in the order of tests/conftest.py, long ones first.
WORKERS ?= 2
TESTS   := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
WITH    ?=
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow golden lint type format bench bench-views bench-gpu bench-cubes bench-bands bench-sweep bench-memory bench-pruning bench-report bench-truth bench-verdicts faults study ui clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## install the package and its tools into .venv
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)  ## make specimens, sweep band counts, print and draw the answer
	BIN=$(BIN) DEMO=$(DEMO) bash experiments/demo/run.sh

test: $(READY)  ## run the fast tests (WITH=slow: the slow ones too, as .ci/run does)
	$(TESTS) -m "$(if $(filter slow,$(WITH)),not faults,not slow) and not gpu"

test-slow: $(READY)  ## run the slow tests
	$(TESTS) -m "slow and not gpu and not faults"

golden: $(READY)  ## write the golden numbers where a version was raised, and note the source
	OMP_NUM_THREADS=1 $(BIN)/python tests/golden/write_golden.py

lint: $(READY)  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

type: $(READY)  ## mypy alone
	$(BIN)/mypy

format: $(READY)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## all parts beside what a careful user writes today (BENCH="--parts steps ...")
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/bench_recipe.py $(BENCH)

bench-gpu: $(READY)  ## a step and a sweep on one data-centre GPU, against its limits
	$(BIN)/python benchmarks/bench_gpu.py $(BENCH)

bench-bands: $(READY)  ## every band strategy at 20 of 408 bands, against its time limit
	$(BIN)/python benchmarks/bench_bands.py

bench-views: $(READY)  ## views beside the same operations as a chain of kornia's classes
	$(BIN)/python benchmarks/bench_views.py

bench-cubes: $(READY)  ## reading, packing and batches beside rasterio, spectral, a plain copy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/bench_cubes.py
	$(BIN)/python benchmarks/bench_store.py
	$(BIN)/python benchmarks/bench_reading.py

bench-sweep: $(READY)  ## time that a sweep costs beyond its jobs' training, against a shell loop
	$(BIN)/python benchmarks/bench_sweep.py

bench-memory: $(READY)  ## predicted against measured peak memory of ten configurations
	$(BIN)/python benchmarks/bench_memory.py

bench-pruning: $(READY)  ## the same search with and without pruning: steps and best score
	$(BIN)/python benchmarks/bench_pruning.py --pruners none,median,hyperband

bench-report: $(READY)  ## the report on 1,000 fake jobs: seconds and size of the page
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_report.py

bench-truth: $(READY)  ## do intervals cover and verdicts hold: simulated sweeps with known truth (TRIALS=2000)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_truth.py --trials $(or $(TRIALS),2000)

bench-verdicts: $(READY)  ## what whole sweeps conclude of sets whose truth is known (BENCH="--kinds null --sets 3")
	$(BIN)/python benchmarks/bench_verdicts.py $(BENCH)

faults: $(READY)  ## inject every fault that a sweep survives (FAULTS_KILLS=n, ONLY=part)
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/run_faults.py

study: $(READY)  ## run a study: make study EXPERIMENT=band_count DATA=FOLDER ARGS="..."
	$(BIN)/hyperspec train experiment=$(EXPERIMENT) data.root=$(DATA) $(ARGS)

ui: $(READY)  ## open the MLflow UI on the runs of this folder
	$(BIN)/hyperspec ui

clean:  ## remove what tools and builds left behind; runs and specimens stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
