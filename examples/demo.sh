#!/usr/bin/env bash
# Sets dtalk up in .venv and turns the example clip into a video:
#   bash examples/demo.sh [VIDEO]     VIDEO is jfk.mp4 in the current folder if not given
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=$repository/.venv
video=${1:-$PWD/jfk.mp4}

say() { printf '%s\n' "$*" >&2; }

# Drawing without a screen takes EGL and OpenGL; macOS has what it takes.
find_gl() {
    "$python" - <<'PYTHON'
import sys
from ctypes.util import find_library

egl = find_library("EGL") and (find_library("GL") or find_library("OpenGL"))
sys.exit(0 if egl or find_library("OSMesa") else 1)
PYTHON
}

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    say "dtalk needs Python 3.10 or newer; name one: PYTHON=python3.12 bash examples/demo.sh"
    exit 1
fi
if [ "$(uname -s)" = Linux ] && ! find_gl; then
    say "OpenGL is missing; on Debian or Ubuntu: sudo apt-get install libegl1 libgl1 libgles2"
    exit 1
fi

if [ ! -x "$environment/bin/python" ]; then
    say "making $environment"
    if ! "$python" -m venv "$environment"; then
        say "cannot make it; on Debian or Ubuntu: sudo apt-get install python3-venv"
        exit 1
    fi
fi
if [ ! -x "$environment/bin/dtalk" ]; then
    say "installing dtalk; torch is large, this takes a few minutes"
    "$environment/bin/python" -m pip install --quiet torch==2.13.0 --editable "$repository"
fi

"$environment/bin/dtalk" render "$repository/examples/speech/jfk.flac" -o "$video" --force
