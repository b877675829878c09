#!/usr/bin/env bash
# Systems of others and two floors on the clips of a data folder, for `dtalk evaluate --pred`:
#
#   bash examples/peers/run.sh DATA OUT [SPLIT]     SPLIT is val if not given
#
# OUT/NAME/CLIP.csv is what each says, as it comes, and OUT/NAME-fitted the same with the one gain
# that suits every twentieth clip of the train split best. The peers are installed in OUT/.peers,
# once, from PyPI and npm; PEERS in the environment may name fewer of them. PYTHON names the Python
# that has dtalk. Clips that fail are named and stop nothing; the exit status is then 1.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$2"
data=$(cd "$1" && pwd) out=$(cd "$2" && pwd) split=${3:-val}
python=${PYTHON:-python3}
tools=$out/.peers heard=$out/.speech-$split fitting=$out/.speech-fitting
log=$out/.peers/log

say() { printf '%s\n' "$*" >&2; }
peers_py() { "$python" "$here/peers.py" "$@"; }

install_python() {
    [ -f "$tools/venv/done" ] && return
    "$python" -m venv "$tools/venv" &&
        "$tools/venv/bin/python" -m pip install --quiet -r "$here/requirements.txt" &&
        touch "$tools/venv/done"
}

install_node() {
    command -v npm >/dev/null || { echo "npm is missing; see the README" && return 1; }
    mkdir -p "$tools/node" && cp "$here"/*.mjs "$here/package.json" "$tools/node" &&
        cd "$tools/node" && npm install --silent --no-audit --no-fund
}

# What a peer answers about a work folder, to a file there.
ask() {
    case $1 in
        openfacefx) "$tools/venv/bin/python" "$here/openfacefx_energy.py" "$2" "$2/$1.jsonl" ;;
        pylipsync) "$tools/venv/bin/python" "$here/pylipsync_vowels.py" "$2" "$2/$1.jsonl" ;;
        *) node "$tools/node/$1.mjs" "$2" "$2/$1.jsonl" ;;
    esac
}

run() {
    local table=oculus install=install_python started gain
    case $1 in
        openfacefx) ;;
        pylipsync) table=vowels ;;
        headaudio) install=install_node ;;
        rhubarb) table=rhubarb install=install_node ;;
        *) say "no such peer: $1" && return 1 ;;
    esac
    ("$install") >"$log" 2>&1 || { say "cannot install $1: $(tail -n 1 "$log")" && return 1; }
    started=$SECONDS
    ask "$1" "$heard" >"$log" 2>&1 || { say "$1 failed: $(tail -n 1 "$log")" && return 1; }
    say "$1 took $((SECONDS - started)) s"
    ask "$1" "$fitting" >"$log" 2>&1 || { say "$1 failed: $(tail -n 1 "$log")" && return 1; }
    gain=$(peers_py gain "$data" "$fitting" "$fitting/$1.jsonl" --table "$table") || return 1
    say "$1 suits the train split best with a gain of $gain"
    rows+=("--pred $out/$1" "--pred $out/$1-fitted")
    peers_py motion "$heard" "$heard/$1.jsonl" "$out/$1" --table "$table" &&
        peers_py motion "$heard" "$heard/$1.jsonl" "$out/$1-fitted" --table "$table" --gain "$gain"
}

mkdir -p "$tools"
peers_py speech "$data" "$heard" --split "$split"
peers_py speech "$data" "$fitting" --split train --every 20
peers_py floors "$data" "$out" --split "$split"
rows=("--pred $out/static" "--pred $out/loudness")
status=0
for peer in ${PEERS:-openfacefx headaudio rhubarb pylipsync}; do
    run "$peer" || status=1
done
say "score them with:"
printf '%s\n' "dtalk evaluate --data $data --split $split ${rows[*]}"
exit "$status"
