#!/usr/bin/env bash
# Species that differ only in which scales have which window (`synth --variant spots`): what do SimCLR,
# supervised contrast and every control reach, with bands that miss the windows and with bands that
# meet them? 23 jobs of about 1 to 2 min each on one core. Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-spots}

if [ ! -f "$STUDY/specimens/truth.json" ]; then
  "$BIN/hyperspec" synth "$STUDY/specimens" --variant spots --specimens 24
fi
sweep() {  # sweep NAME OVERRIDE...
  local name=$1
  shift
  "$BIN/hyperspec" train -m study=spots data=synthetic data.root="$STUDY/specimens" model=tiny lr=1e-3 \
    epochs="${EPOCHS:-250}" batch_size=32 data.size=24 data.normalisation=snv hardware.threads="${THREADS:-1}" \
    hydra.sweep.dir="$STUDY/$name" "$@"
}
sweep sweep loss=nt_xent,supcon loss.temperature=0.2 bands.n=10,50 seed=0,1,2 views=light \
  'evaluation.controls=[untrained,mean_spectrum,image_stats,random_features,lda,pls_da]'
# without labels: does another loss, do other views or stems see it? One seed
others=(bands.n=50 seed=0 evaluation.controls=false evaluation.importance=false)
sweep losses "${others[@]}" views=light loss=dcl loss.temperature=0.2
sweep terms "${others[@]}" views=light loss=vicreg,combined
sweep views "${others[@]}" views=none,default,strong loss.temperature=0.2
sweep crops "${others[@]}" views=light views.crop_min=0.1,0.3 loss.temperature=0.2
sweep stems "${others[@]}" views=light model.stem=inflate,wavelength,attention loss.temperature=0.2
