#!/usr/bin/env bash
# Every band strategy at n = 5, 10, 20 and 50 on specimens with planted windows: which of them find the
# signal, against `uniform` and `random`? Equal steps, three seeds, paired by seed and specimen.
# About 290 jobs of 12 s each on one core. Stopped, it goes on where it was with the same command.
# `bands=learned` has a study of its own (experiments/learned).
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-strategies}
SEEDS=${SEEDS:-0,1,2}
COUNTS=${COUNTS:-5,10,20,50}

if [ ! -f "$STUDY/specimens/truth.json" ]; then
  "$BIN/hyperspec" synth "$STUDY/specimens"
fi
sweep() {  # sweep NAME OVERRIDE...
  local name=$1
  shift
  "$BIN/hyperspec" train experiment=demo -m study=strategies data.root="$STUDY/specimens" \
    seed="$SEEDS" bands.n="$COUNTS" evaluation.controls=false evaluation.importance=false \
    hardware.threads="${THREADS:-1}" hydra.sweep.dir="$STUDY/sweeps/$name" "$@"
}
# a random set is drawn anew for each seed: its interval is over sets as well
sweep random bands=random 'bands.seed=${seed}'
sweep even bands=uniform,regions
sweep unsupervised bands=variance,entropy,pca,correlation,e_fdpc,ocf,fngbs,issc,opbs,lcmv_bcc,spa
sweep supervised bands=mutual_information,mrmr,vip,cars,ipls
sweep fisher bands=fisher bands.pairs=mean,cover
sweep projections bands=binned,pca_projection,nmf_projection
"$BIN/hyperspec" report "$STUDY"/sweeps/* --out "$STUDY/report"

"$BIN/python" experiments/strategies/picks.py --counts ${COUNTS//,/ } --out "$STUDY/picks.json"
"$BIN/python" experiments/strategies/table.py --picks "$STUDY/picks.json" --sweeps "$STUDY"/sweeps/* --out "$STUDY"
