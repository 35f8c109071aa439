#!/usr/bin/env bash
# Whether a GPU computes what the CPU computes, how fast, and whether the targets are reached. At most 20 minutes.
#
#     bash perf/gpu.sh                    on a machine with a GPU; needs no download
#     bash perf/gpu.sh --device cpu       the same lines at a small size; says nothing about a GPU
#
# Tables and CSV files go to build/perf/gpu/ (--folder FOLDER: elsewhere), and all that is printed to log.txt there. A part
# that fails or exceeds its time does not stop the others; the last lines are the verdict. Exit status 1 if a part failed.
set -uo pipefail

device=cuda
folder=build/perf/gpu
while [ $# -gt 0 ]; do
  case "$1 ${2-}" in
    "--device cpu" | "--device cuda") device=$2 ;;
    "--folder "?*) folder=$2 ;;
    *)
      echo "usage: bash perf/gpu.sh [--device cpu|cuda] [--folder FOLDER]" >&2
      exit 2
      ;;
  esac
  shift 2
done

here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$folder" || exit 1
rm -f "$folder"/{check,step,step_compiled,runs}.csv # of an earlier call
exec > >(tee "$folder/log.txt") 2>&1

check=() step=() compiled=(--compile --method crayon_attention) runs=(--plain-epochs 2)
if [ "$device" = cpu ]; then
  small=(--network mini_resnet --pixels 32 --batch 4 --repeats 1)
  check=(--pixels 48 --batch 4)
  step=("${small[@]}")
  compiled+=("${small[@]}")
  runs=(--images 24 --network resnet18 --epochs 2 --plain-epochs 1)
fi

failed=()
part() { # part NAME SECONDS PROGRAM ARGUMENT...
  local name=$1 limit=$2
  shift 2
  if [ "$device" = cpu ]; then limit=3600; fi
  echo
  echo "== $name: python perf/$* (at most $limit s)"
  timeout "$limit" python "$here/$1" "${@:2}" --device "$device" --csv "$folder/$name.csv"
  local status=$?
  if [ $status -eq 124 ]; then echo "FAILED  $name took more than $limit s"; fi
  if [ $status -ne 0 ]; then failed+=("$name"); fi
}

if [ "$device" = cuda ]; then nvidia-smi || failed+=(nvidia-smi); fi
part check 240 gpu.py check ${check[@]+"${check[@]}"}
part step 300 step.py ${step[@]+"${step[@]}"}
part step_compiled 120 step.py "${compiled[@]}"
part runs 480 runs.py "${runs[@]}"

echo
echo "== verdict"
python "$here/gpu.py" verdict "$folder"
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED  ${failed[*]}"
  exit 1
fi
