#!/usr/bin/env bash
# How many bands carry the planted signal? Makes specimens, sweeps band counts, adds two references
# (three colour bands, the whole spectrum), and draws one report over both sweeps.
#   SEEDS=0,1,2 make demo    intervals over seeds, as in the picture of the README
set -euo pipefail
BIN=${BIN:-.venv/bin}
DEMO=${DEMO:-demo}
SEEDS=${SEEDS:-0}
SWEEPS=$DEMO/sweeps/$(date +%Y-%m-%d_%H-%M-%S)

if [ ! -f "$DEMO/specimens/truth.json" ]; then
  "$BIN/hyperspec" synth "$DEMO/specimens"
fi
"$BIN/hyperspec" train experiment=demo -m bands.n=10,20,50,100,200,408 seed="$SEEDS" \
  data.root="$DEMO/specimens" hydra.sweep.dir="$SWEEPS/band_count"
"$BIN/hyperspec" train experiment=demo -m bands=rgb,full seed="$SEEDS" \
  data.root="$DEMO/specimens" hydra.sweep.dir="$SWEEPS/references"
"$BIN/hyperspec" report "$SWEEPS/band_count" "$SWEEPS/references" --out "$DEMO/report"
