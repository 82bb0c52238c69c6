# shellcheck shell=bash
# Sourced by the other scripts: makes (once) a virtual environment, puts it first on PATH, and the package of this
# checkout on Python's path. POSE_VENV names its folder (default: .venv in the checkout), PYTHON the interpreter to
# build it with.

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

# make_environment ROOT [REQUIREMENTS.txt ...]: an environment with requirements.txt and the further files. Each file
# leaves a stamp, so that what is there already is not installed again.
make_environment() {
    local root=$1 venv file stamp
    shift
    venv=${POSE_VENV:-$root/.venv}
    # Two scripts at once: the second one waits. The lock lies beside the folder, and goes with the process.
    mkdir -p "$(dirname "$venv")"
    exec {environment_lock}>>"$venv.lock"
    flock "$environment_lock"
    if [ ! -x "$venv/bin/python" ]; then
        if [ -e "$venv" ] && [ -n "$(ls -A "$venv")" ] && [ ! -e "$venv/requirements.stamp" ]; then
            echo "error: $venv is no environment that these scripts made: remove it, or name another folder in" \
                "POSE_VENV" >&2
            return 2
        fi
        local python
        python=$(find_python)
        echo "making the environment $venv with $("$python" --version) (downloads about 1 GB the first time)"
        "$python" -m venv "$venv"
    fi
    for file in requirements.txt "$@"; do
        stamp=$(cksum <"$root/$file")
        if [ "$(cat "$venv/${file%.txt}.stamp" 2>/dev/null)" != "$stamp" ]; then
            "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/$file"
            echo "$stamp" >"$venv/${file%.txt}.stamp"
        fi
    done
    exec {environment_lock}>&-
    # msrun and the scripts look for `python` on PATH.
    export PATH="$venv/bin:$PATH"
    package_on_path "$root"
}

package_on_path() {
    export PYTHONPATH=$1/src${PYTHONPATH:+:$PYTHONPATH}
}
