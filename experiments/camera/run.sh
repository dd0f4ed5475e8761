#!/usr/bin/env bash
# Which camera is enough for the demo's specimens: 4 to 16 filters of 10 to 40 nm, evenly spread, against all
# 408 bands. `experiment=camera` at the demo's size: 27 jobs of about 20 s on one core.
# Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-camera}

if [ ! -f "$STUDY/specimens/truth.json" ]; then
  "$BIN/hyperspec" synth "$STUDY/specimens"
fi
"$BIN/hyperspec" train experiment=camera data=synthetic data.root="$STUDY/specimens" model=tiny \
  epochs="${EPOCHS:-50}" batch_size=64 lr=1e-3 loss.temperature=0.2 evaluation.controls=false \
  evaluation.importance=false hardware.threads="${THREADS:-1}" hydra.sweep.dir="$STUDY/sweep"
