#!/usr/bin/env bash
# Which strategy's bands tell the 16 classes of a real scene? 860 fits of support vectors, about 10 min on
# one idle core; then SimCLR on its tiles. Needs the extra `studies`: pip install -e '.[studies]'.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-indian_pines}

OMP_NUM_THREADS=${THREADS:-1} "$BIN/python" experiments/indian_pines/bands.py --out "$STUDY"
"$BIN/python" experiments/indian_pines/scene.py "$STUDY/scene"
"$BIN/hyperspec" train -m study=indian_pines data=tiles data/labels=map data.root="$STUDY/scene" \
  data.tile=8 data.stride=4 data.size=8 data.split.group=block model=tiny bands=uniform,ocf,fngbs,opbs \
  bands.n=10,20,50 seed=0,1,2 epochs="${EPOCHS:-40}" evaluation.random_split=true \
  hardware.threads="${THREADS:-1}" hydra.sweep.dir="$STUDY/sweep"
