#!/usr/bin/env bash
# Species that differ only in which scales have which window (`synth --variant spots`): what do SimCLR,
# supervised contrast and every control reach, with bands that miss the windows and with bands that
# meet them? 12 jobs of about 1 to 2 min each on one core. Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-spots}

if [ ! -f "$STUDY/specimens/truth.json" ]; then
  "$BIN/hyperspec" synth "$STUDY/specimens" --variant spots --specimens 24
fi
"$BIN/hyperspec" train experiment=demo -m study=spots data.root="$STUDY/specimens" \
  loss=nt_xent,supcon bands.n=10,50 seed=0,1,2 epochs="${EPOCHS:-250}" batch_size=32 data.size=24 \
  data.normalisation=snv views=light hardware.threads="${THREADS:-1}" hydra.sweep.dir="$STUDY/sweep" \
  'evaluation.controls=[untrained,mean_spectrum,image_stats,random_features,lda,pls_da]'
