#!/usr/bin/env bash
# Systems of others and two floors on the clips of a data folder, for `dtalk evaluate --pred`:
#
#   bash examples/peers/run.sh DATA OUT [SPLIT]     SPLIT is val if not given
#
# The peers are installed in OUT/.peers (from PyPI and npm, once); PEERS in the environment may
# name fewer of them. PYTHON names the Python that has dtalk. OUT/NAME/CLIP.csv is what each says.
# Clips that fail are named and stop nothing; the exit status is then 1.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$2"
data=$(cd "$1" && pwd) out=$(cd "$2" && pwd) split=${3:-val}
python=${PYTHON:-python3}
tools=$out/.peers work=$out/.speech-$split
peers=${PEERS:-openfacefx headaudio rhubarb pylipsync}

say() { printf '%s\n' "$*" >&2; }

install_python() {
    [ ! -f "$tools/venv/done" ] || return 0
    "$python" -m venv "$tools/venv"
    "$tools/venv/bin/python" -m pip install --quiet -r "$here/requirements.txt"
    touch "$tools/venv/done"
}

install_node() {
    if ! command -v npm >/dev/null; then
        say "npm is missing; on Debian or Ubuntu: sudo apt-get install nodejs npm"
        return 1
    fi
    mkdir -p "$tools/node"
    cp "$here"/*.mjs "$here/package.json" "$tools/node"
    [ -d "$tools/node/node_modules" ] || (cd "$tools/node" && npm install --silent --no-audit --no-fund)
}

# Answers of one peer to stdout's file, what it prints to a log.
ask() {
    local answers=$work/$1.jsonl log=$work/$1.log
    case $1 in
        openfacefx) install_python && "$tools/venv/bin/python" "$here/openfacefx_energy.py" "$work" "$answers" ;;
        pylipsync) install_python && "$tools/venv/bin/python" "$here/pylipsync_vowels.py" "$work" "$answers" ;;
        headaudio | rhubarb) install_node && node "$tools/node/$1.mjs" "$work" "$answers" ;;
        *) echo "no such peer" >&2 && false ;;
    esac >"$log" 2>&1 || { say "$1 failed: $(tail -n 1 "$log") ($log)"; return 1; }
}

declare -A table=([headaudio]=oculus [openfacefx]=oculus [rhubarb]=rhubarb [pylipsync]=vowels)
status=0
"$python" "$here/peers.py" speech "$data" "$work" --split "$split"
"$python" "$here/peers.py" floors "$data" "$out" --split "$split"
rows=("--pred $out/static" "--pred $out/loudness")
for peer in $peers; do
    started=$SECONDS
    ask "$peer" || { status=1; continue; }
    say "$peer took $((SECONDS - started)) s, installing included"
    "$python" "$here/peers.py" motion "$work" "$work/$peer.jsonl" "$out/$peer" \
        --table "${table[$peer]}" || status=1
    rows+=("--pred $out/$peer")
done

say "score them with:"
printf '%s\n' "dtalk evaluate --data $data --split $split ${rows[*]}"
exit "$status"
