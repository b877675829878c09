#!/usr/bin/env bash
# Models and other systems' predictions on the clips of a data folder: one table, one json.
#
#   bash examples/benchmark.sh DATA OUT [MODEL | MODEL@STEPS | FOLDER]...
#
# MODEL is a model file, or student or teacher for those that ship; FOLDER holds predictions, a file a
# clip. Without any the student is measured. In the environment: ENCODER, the large speech encoder
# of teachers; SPLIT (val); THREADS (all); SETS, data sets separated by spaces (all).
#
# OUT/benchmark.json holds every figure with 95 % intervals, what was asked for and the machine;
# OUT/benchmark.csv the same tables, OUT/clips.csv each clip's figures. Quality comes out the same
# every time, speed does not: nothing else should run meanwhile.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
data=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- student
dtalk=${DTALK:-dtalk}

rows=()
for row in "$@"; do
    if [ -d "$row" ]; then rows+=(--pred "$row"); else rows+=(--weights "$row"); fi
done
[ -z "${ENCODER:-}" ] || rows+=(--encoder "$ENCODER")
[ -z "${THREADS:-}" ] || rows+=(--threads "$THREADS")
for name in ${SETS:-}; do rows+=(--sets "$name"); done

mkdir -p "$out"
"$dtalk" evaluate --data "$data" --split "${SPLIT:-val}" --speed --intervals "${rows[@]}" \
    --json "$out/benchmark.json" --csv "$out/benchmark.csv" --clips "$out/clips.csv"
