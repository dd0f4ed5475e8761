#!/usr/bin/env bash
# Which normalisation, loss, views, stem and temperature should be the defaults? One at a time from today's,
# on four sets: planted windows, shallow ones, nothing to find, and the tiles of a real scene (extra `studies`:
# pip install -e '.[studies]'). 14 settings, three seeds, two rotations of the split: 336 jobs of some 10 s each
# on one core. Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-defaults}

common=(model=tiny bands=uniform bands.n=50 lr=1e-3 batch_size=32 data.split.rotate=3
  evaluation.importance=false 'evaluation.controls=[untrained,mean_spectrum]' hardware.threads="${THREADS:-1}")

vary() {  # vary SET OVERRIDE...: one factor at a time; what was trained for another factor is not trained again
  local name=$1 factor
  shift
  for factor in data.normalisation=zscore,minmax,snv,l2 loss=nt_xent,dcl,vicreg,combined \
    views=default,light,strong model.stem=projection,inflate,wavelength,attention \
    loss.temperature=0.1,0.05,0.2,0.5; do
    "$BIN/hyperspec" train -m study="defaults_$name" "${common[@]}" "$@" "$factor" \
      hydra.sweep.dir="$STUDY/sweeps/$name-${factor%%=*}"
  done
}
for variant in planted graded null; do
  if [ ! -f "$STUDY/$variant/truth.json" ]; then
    "$BIN/hyperspec" synth "$STUDY/$variant" --variant "$variant" --specimens 16 --size 32
  fi
  # 24 steps: after more of them all settings but the worst have found the planted windows
  seeds=0,1,2
  if [ "$variant" = null ]; then seeds=0; fi
  vary "$variant" seed="$seeds" data=synthetic data.root="$STUDY/$variant" data.size=16 epochs="${EPOCHS:-12}"
done
"$BIN/python" experiments/indian_pines/scene.py "$STUDY/scene"
# classes that lie in fewer than six of the scene's blocks of 16 pixels have no label
vary scene seed=0,1,2 data=tiles data/labels=map data.root="$STUDY/scene" data.tile=8 data.stride=4 epochs=30 \
  'data.labels.unlabelled=[0,1,4,7,8,9,13,15,16]'

"$BIN/python" experiments/defaults/table.py --sweeps "$STUDY"/sweeps/* --out "$STUDY"
