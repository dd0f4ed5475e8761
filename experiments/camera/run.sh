#!/usr/bin/env bash
# Which camera tells the demo's species: how many filters, how wide, against the full spectrum?
# 27 jobs of about 20 s each on one core. Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-camera}

if [ ! -f "$STUDY/specimens/truth.json" ]; then
  "$BIN/hyperspec" synth "$STUDY/specimens"
fi
"$BIN/hyperspec" train experiment=camera data=synthetic data.root="$STUDY/specimens" model=tiny epochs="${EPOCHS:-50}" \
  lr=1e-3 loss.temperature=0.2 hardware.threads="${THREADS:-1}" hydra.sweep.dir="$STUDY/sweep"
