# `make help` lists the targets. Every target installs what it needs, once, into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Two stamps: the package alone, and with the tools that tests and lint need.
INSTALLED := $(VENV)/.installed
READY  := $(VENV)/.ready
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
DEMO   ?= demo
SEEDS  ?= 0
# A file's tests share what they make, so that a file stays in one process. One thread each. Files go
# out in the order of tests/conftest.py, long ones first.
WORKERS ?= 2
TESTS   := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
WITH    ?=
# Third-party packages are left out: a third of the time, and what differs is Python's own library.
OTHERS  := $(BIN)/mypy --config-file .ci/mypy_platforms.ini
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-versions coverage mutation golden lint type format bench bench-views bench-step-sides bench-gpu check-gpu check-gpu-wheels bench-cubes bench-bands bench-sweep bench-memory bench-pruning bench-report bench-truth bench-race bench-verdicts bench-windows bench-soak bench-scale bench-first-output gate sbom fuzz faults study docs release-check ui clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## install the package and its tools into .venv
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing hyperspec and what it needs into $(VENV): a few minutes the first time"
	$(PIP) -e .
	touch $@
$(READY): $(INSTALLED)
	@echo "installing the tools for tests and lint into $(VENV)"
	$(PIP) -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## make specimens, sweep band counts, print and draw the answer (SEEDS=0,1,2)
	$(BIN)/hyperspec demo $(DEMO) --seeds $(SEEDS)

test: $(READY)  ## run the fast tests (WITH=slow: the slow ones too, as .ci/run does)
	$(TESTS) -m "$(if $(filter slow,$(WITH)),not faults,not slow) and not gpu"

test-slow: $(READY)  ## run the slow tests
	$(TESTS) -m "slow and not gpu and not faults"

test-versions: $(READY)  ## fast tests and the wheel: other Pythons, lower bounds (ARGS="python3.13 --lowest")
	$(BIN)/python benchmarks/check_versions.py $(ARGS)

# It limits how large files may grow, which are coverage.py's too.
NOT_COVERED := tests/datasets/test_store_faults.py::test_a_write_that_fails_loses_nothing
coverage: $(READY)  ## which branches of the package no test takes, fast and slow tests together
	$(TESTS) -m "not gpu and not faults" --deselect $(NOT_COVERED) \
	  --cov --cov-report=json:build/coverage.json --cov-report=term
	$(BIN)/python benchmarks/record_coverage.py

mutation: $(READY)  ## would tests notice a fault: 400 mutants of the rooms that numbers come from (ARGS="--seed 2")
	$(PIP) -e '.[mutation]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation/run_mutation.py $(ARGS)

golden: $(READY)  ## write the golden numbers where a version was raised, and note the source
	OMP_NUM_THREADS=1 $(BIN)/python tests/golden/write_golden.py

lint: $(READY)  ## ruff (lint and format) and mypy, also of what Windows and macOS do not have
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 hyperspec
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(OTHERS) --platform win32 --cache-dir .mypy_cache/win32
	$(OTHERS) --platform darwin --cache-dir .mypy_cache/darwin

type: $(READY)  ## mypy alone
	$(BIN)/mypy

format: $(READY)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## all parts beside what a careful user writes today (BENCH="--parts steps ...")
	$(PIP) -e '.[bench]'
	$(BIN)/python benchmarks/bench_recipe.py $(BENCH)

bench-gpu: $(READY)  ## a step and a sweep on one data-centre GPU, against its limits
	$(BIN)/python benchmarks/bench_gpu.py $(BENCH)

check-gpu: $(READY)  ## does all of it work on this card: nine minutes (ARGS=--tiny: rehearsal on the CPU)
	$(BIN)/python benchmarks/check_gpu.py $(ARGS)

check-gpu-wheels: $(READY)  ## what a machine with a card and no network has to be given, into build/wheels
	$(BIN)/python benchmarks/check_gpu_wheels.py $(ARGS)

gate: $(READY)  ## did a change cost speed: eleven ratios against kept ones, half a minute (ARGS=--renew)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/gate.py $(ARGS)

bench-bands: $(READY)  ## every band strategy at 20 of 408 bands, against its time limit
	$(BIN)/python benchmarks/bench_bands.py

bench-views: $(READY)  ## views beside the same operations by kornia and torchvision (BENCH="--compiled": minutes a case)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_views.py $(BENCH)

bench-step-sides: $(READY)  ## a step beside torchgeo's, lightly's, and ResNet-18 on ready 3-channel views
	$(PIP) -e '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_step_sides.py $(BENCH)

bench-cubes: $(READY)  ## reading, packing and batches beside rasterio, spectral, a plain copy
	$(PIP) -e '.[bench]'
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
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_scale.py --parts report --jobs 1000

bench-truth: $(READY)  ## do intervals cover and verdicts hold: simulated sweeps with known truth (TRIALS=2000)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_truth.py --trials $(or $(TRIALS),2000)

bench-race: $(READY)  ## does a race conclude what the full grid does, with how many trainings: simulated grids
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_race.py $(BENCH)

bench-windows: $(READY)  ## planted windows found and others claimed, over generator seeds (BENCH="--sets 3")
	$(BIN)/python benchmarks/bench_windows.py --words data.normalisation=snv batch_size=32 $(BENCH)

bench-verdicts: $(READY)  ## what whole sweeps conclude of sets whose truth is known (BENCH="--kinds null --sets 3")
	$(BIN)/python benchmarks/bench_verdicts.py $(BENCH)

bench-soak: $(READY)  ## do 500 jobs of a sweep cost more and more: memory, files, threads, time (BENCH="--jobs 100")
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_soak.py $(BENCH)

bench-scale: $(READY)  ## many specimens and jobs: simulated store, 10,000 fake jobs, 8 workers (BENCH="--parts store")
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_scale.py $(BENCH)

bench-first-output: $(READY)  ## how long each command is silent, and takes, on 48 cubes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_first_output.py $(BENCH)

# In a folder of its own: the tool's packages are no part of the bill.
sbom: $(READY)  ## software bill of .venv (CycloneDX: versions, licences, who needs what), into build/sbom.json
	test -x build/sbom/bin/cyclonedx-py || { $(PYTHON) -m venv build/sbom && \
	  build/sbom/bin/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0; }
	build/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library \
	  --output-reproducible --output-file build/sbom.json $(BIN)/python

fuzz: $(READY)  ## 10,000 damaged files for each of seven targets, guided ones for four, state machines (ARGS="--examples 500 --only store")
	$(PIP) -e '.[fuzz]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run_fuzz.py $(ARGS)

faults: $(READY)  ## inject every fault that a sweep survives (FAULTS_KILLS=n, ONLY=part)
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/run_faults.py

study: $(INSTALLED)  ## run a study: make study EXPERIMENT=band_count DATA=FOLDER ARGS="..."
	$(BIN)/hyperspec train experiment=$(EXPERIMENT) data.root=$(DATA) $(ARGS)

docs: $(READY)  ## build the documentation site into build/site; a warning is an error
	$(BIN)/python docs/make_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

release-check: $(READY)  ## what has to hold before a version is tagged: texts, artefacts, docs, wheel, sdist
	OMP_NUM_THREADS=1 $(BIN)/python .ci/release_check.py

ui: $(INSTALLED)  ## open the MLflow UI on the runs of this folder
	$(BIN)/hyperspec ui

clean:  ## remove what tools and builds left behind; runs and specimens stay
	rm -rf build dist mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
