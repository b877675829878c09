#!/usr/bin/env bash
# Animates and renders all speech in a folder tree:
#   bash examples/batch.sh [SPEECH] [OUT]     by default examples/speech and ./talking
# OUT becomes a copy of the tree, with npz, csv and mp4 beside each speech file. A file that fails
# is named and stops no other; the exit status is then 1.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
speech=${1:-$examples/speech}
out=${2:-talking}

dtalk=${DTALK:-$(command -v dtalk || echo "$examples/../.venv/bin/dtalk")}
if [ ! -x "$dtalk" ]; then
    echo "no dtalk here: run examples/demo.sh once, or name it in DTALK" >&2
    exit 1
fi

# Importers find the sound beside the curves, by its name.
mkdir -p "$out"
cp -R "$speech/." "$out"

status=0
"$dtalk" animate "$out" --format npz --format csv --force || status=1
find "$out" -name '*.npz' -exec "$dtalk" render --force {} + || status=1
exit "$status"
