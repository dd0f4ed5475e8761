#!/usr/bin/env bash
# `bands=learned`: which rate, schedule and penalty? One at a time from the defaults, on one set of specimens and
# seed; what does best there is judged on three other sets. 10 jobs and 9 of about 20 s on an idle core; then
# other numbers of bands, 9 jobs.
# Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-learned}
BEST=${BEST:-}  # a setting that does better than the defaults in `choose`, for `judge`; there was none

sweep() {  # sweep NAME SET OVERRIDE...
  local name=$1 set=$2
  shift 2
  if [ ! -f "$STUDY/set-$set/truth.json" ]; then
    "$BIN/hyperspec" synth "$STUDY/set-$set" --seed "$set"
  fi
  "$BIN/hyperspec" train experiment=demo -m study="learned_$set" data.root="$STUDY/set-$set" bands=learned \
    bands.n=10 evaluation.controls=false evaluation.importance=false hardware.threads="${THREADS:-1}" \
    hydra.sweep.dir="$STUDY/sweeps/$name-$set" "$@"
}
for set in 10; do  # one set
  for factor in bands.lr=1,0.1,0.3,3 bands.search_share=0.5,0.75 bands.end_temperature=0.1,0.01,0.5 \
    bands.start_temperature=10,3 bands.duplicate_penalty=1,0,10; do
    sweep "choose-${factor%%=*}" "$set" seed=0 "$factor"
  done
done
for set in 0 1 2; do
  sweep judge-defaults "$set" seed=0,1,2
  if [ -n "$BEST" ]; then sweep judge-best "$set" seed=0,1,2 "$BEST"; fi
done
sweep counts 0 seed=0,1,2 bands.n=5,20,50
"$BIN/python" experiments/learned/table.py --sweeps "$STUDY"/sweeps/* --out "$STUDY"
