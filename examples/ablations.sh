#!/usr/bin/env bash
# Table III: the student with all its parts, then without each, in one table.
#
#   bash examples/ablations.sh TEACHER ENCODER DATA OUT [flags of dtalk distill]
#
# TEACHER is a model file, ENCODER the large speech encoder it hears through. All students get the
# same flags. What is done already is not done again, so an interrupted run can be started anew.
set -euo pipefail

if [ $# -lt 4 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
teacher=$1 encoder=$2 data=$3 out=$4
shift 4
dtalk=${DTALK:-dtalk}

mkdir -p "$out"
rows=()
for part in "" identity emotion enhancer distillation compression; do
    name=${part:+without-}${part:-student}
    flags=()
    [ -z "$part" ] || flags+=(--without "$part")
    [ ! -d "$out/$name" ] || flags+=(--resume)
    "$dtalk" distill --teacher "$teacher" --encoder "$encoder" --data "$data" \
        --out "$out/$name" "${flags[@]}" "$@"
    cp "$out/$name/model.safetensors" "$out/$name.safetensors"
    rows+=(--weights "$out/$name.safetensors")
done
"$dtalk" evaluate --data "$data" --encoder "$encoder" --json "$out/ablations.json" "${rows[@]}"
