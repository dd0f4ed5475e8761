#!/usr/bin/env bash
# Which strategy's bands tell the 16 classes of a real scene? 1,010 fits of support vectors, about 10 min on
# one idle core; then SimCLR on its tiles. Needs the extra `studies`: pip install -e '.[studies]'.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-indian_pines}

OMP_NUM_THREADS=${THREADS:-1} "$BIN/python" experiments/indian_pines/bands.py --out "$STUDY"
"$BIN/python" experiments/indian_pines/scene.py "$STUDY/scene"
sweep() {  # sweep NAME OVERRIDE...
  local name=$1
  shift
  # classes that lie in fewer than six of the scene's blocks of 16 pixels have no label
  "$BIN/hyperspec" train -m study=indian_pines data=tiles data/labels=map data.root="$STUDY/scene" \
    data.tile=8 data.stride=4 'data.labels.unlabelled=[0,1,4,7,8,9,13,15,16]' \
    model=tiny seed=0,1,2 lr=1e-3 batch_size=32 epochs="${EPOCHS:-40}" evaluation.random_split=true \
    evaluation.importance=false hardware.threads="${THREADS:-1}" hydra.sweep.dir="$STUDY/sweeps/$name" "$@"
}
sweep strategies bands=uniform,random,ocf,fngbs,opbs bands.n=10,20,50
sweep full bands=full
"$BIN/hyperspec" report "$STUDY"/sweeps/* --out "$STUDY/report"
