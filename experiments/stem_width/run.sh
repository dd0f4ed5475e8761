#!/usr/bin/env bash
# How many channels does the projection need? 32 against 8, 12, 16, 24 and 64: ResNet-18 on planted windows, `tiny` on
# planted and shallow windows. A width draws another start of all weights, so seeds count and not rotations of the
# split: ten for `tiny`, three for ResNet-18. Stopped, it goes on with the same command.
set -euo pipefail
BIN=${BIN:-.venv/bin}
STUDY=${STUDY:-stem_width}
PARTS=${PARTS:-planted graded resnet18}

common=(-m bands=uniform model.stem_channels=32,8,12,16,24,64 lr=1e-3 batch_size=32
  evaluation.importance=false 'evaluation.controls=[untrained,mean_spectrum]' hardware=cpu
  hardware.threads="${THREADS:-1}")

for part in $PARTS; do
  case $part in
    planted | graded)
      set=$part side=32
      # as in experiments/defaults: few enough steps that something is left to compare
      words=(model=tiny data=synthetic data.size=16 epochs=12 bands.n=20,50,408 seed="range(10)")
      ;;
    resnet18)
      set=planted40 side=40
      words=(model=resnet18 data=synthetic data.size=32 epochs=20 bands.n=50,408 seed=0,1,2)
      ;;
    *)
      echo "PARTS may hold planted, graded, resnet18, not $part" >&2
      exit 2
      ;;
  esac
  if [ ! -f "$STUDY/$set/truth.json" ]; then
    "$BIN/hyperspec" synth "$STUDY/$set" --variant "${set%40}" --specimens 16 --size "$side"
  fi
  "$BIN/hyperspec" train study="stem_width_$part" "${common[@]}" "${words[@]}" data.root="$STUDY/$set" \
    hydra.sweep.dir="$STUDY/sweeps/$part"
done

"$BIN/python" experiments/defaults/table.py --sweeps "$STUDY"/sweeps/* --out "$STUDY"
