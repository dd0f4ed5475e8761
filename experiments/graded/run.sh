#!/usr/bin/env bash
# Shallow windows (`synth --variant graded`): does accuracy climb with the number of bands, and beyond 50?
# 18 jobs of 15 to 40 s each on one core. Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-graded}

if [ ! -f "$STUDY/specimens/truth.json" ]; then
  "$BIN/hyperspec" synth "$STUDY/specimens" --variant graded
fi
"$BIN/hyperspec" train experiment=demo -m study=graded data.root="$STUDY/specimens" \
  bands.n=10,20,50,100,200,408 seed=0,1,2 epochs="${EPOCHS:-75}" hardware.threads="${THREADS:-1}" \
  hydra.sweep.dir="$STUDY/sweep"
