#!/usr/bin/env bash
# Table III: a student with all its parts, then without each, in one table.
#
#   bash examples/ablations.sh TEACHER ENCODER DATA OUT [flags of dtalk distill]
#
# TEACHER is a model file, ENCODER the large speech encoder it hears through ("" if it has a small
# one, as a student of more steps has, whose last round can be studied so). All students get the
# same flags. The stage of the small encoder alone, in which all but compression are alike, is done
# once. PARTS in the environment may name fewer parts to leave out. What is done already is not done
# again, so an interrupted run can be started anew.
set -euo pipefail

if [ $# -lt 4 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
teacher=$1 data=$3 out=$4
encoder=()
[ -z "$2" ] || encoder=(--encoder "$2")
shift 4
dtalk=${DTALK:-dtalk}
drawn=generated.safetensors

rows=()
for part in all ${PARTS:-identity emotion enhancer distillation compression}; do
    name=without-$part flags=(--without "$part")
    case $part in
        all) name=student flags=() ;;
        identity | emotion | enhancer)
            small=$out/student/encoder/model.safetensors
            [ ! -f "$small" ] || flags+=(--encoder-init "$small" --encoder-updates 0) ;;
    esac
    mkdir -p "$out/$name"
    # The teacher's motion for unlabelled speech is the same for all: draw it once.
    [ ! -f "$out/student/$drawn" ] || cp -n "$out/student/$drawn" "$out/$name/"
    "$dtalk" distill --teacher "$teacher" ${encoder[@]+"${encoder[@]}"} --data "$data" --out "$out/$name" \
        --resume "$@" ${flags[@]+"${flags[@]}"}
    cp "$out/$name/model.safetensors" "$out/$name.safetensors"
    rows+=(--weights "$out/$name.safetensors")
done
"$dtalk" evaluate --data "$data" ${encoder[@]+"${encoder[@]}"} --json "$out/ablations.json" "${rows[@]}"
