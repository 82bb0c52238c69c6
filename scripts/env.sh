# shellcheck shell=bash
# Sourced by the other scripts: makes (once) a virtual environment from requirements.txt and puts it first on PATH.
# POSE_VENV names its folder (default: .venv in the checkout), PYTHON the interpreter to build it with.

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.10 python3 python; do
        # MindSpore 2.7 to 2.10 has wheels for these versions; venv and ensurepip are separate packages on Debian.
        if [ -n "$candidate" ] && "$candidate" -c '
import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; then
            echo "$candidate"
            return 0
        fi
    done
    echo "error: no Python 3.10, 3.11 or 3.12 with the venv module was found; install one (on Debian or Ubuntu:" \
        "apt-get install python3.11 python3.11-venv) or name it: PYTHON=/path/to/python bash $0" >&2
    return 2
}

make_environment() {
    local root=$1 venv python stamp
    venv=${POSE_VENV:-$root/.venv}
    stamp=$(cksum <"$root/requirements.txt")
    if [ "$(cat "$venv/requirements.stamp" 2>/dev/null)" != "$stamp" ]; then
        python=$(find_python)
        echo "making the environment $venv with $("$python" --version) (downloads about 1 GB the first time)"
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/requirements.txt"
        echo "$stamp" >"$venv/requirements.stamp"
    fi
    # msrun and the scripts look for `python` on PATH.
    export PATH="$venv/bin:$PATH"
}
