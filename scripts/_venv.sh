# shellcheck shell=bash
# Sourced by the scripts in this folder: changes to the root of the repository and sets up .venv there.
# PYTHON: the interpreter that creates .venv (default: python3).

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '==> %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Whether .venv has Python 3.10 or newer and a complete pip. pip writes INSTALLER last, so a missing INSTALLER means
# that an installation was interrupted.
venv_is_whole() {
    .venv/bin/python -c '
import sys; from importlib.metadata import distribution
sys.exit(sys.version_info < (3, 10) or not distribution("pip").read_text("INSTALLER"))' 2>/dev/null
}

make_venv() {
    local python=${PYTHON:-python3}
    command -v "$python" >/dev/null ||
        die "'$python' not found: install Python 3.10 or newer, or set PYTHON to its path"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "'$python' is $("$python" -V 2>&1), too old: set PYTHON to the path of Python 3.10 or newer"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "'$python' cannot make virtual environments: install its venv module (Debian: python3-venv)"
    say "creating .venv with $("$python" -V)"
    "$python" -m venv --clear .venv
}

# install_package EXTRA: installs this package, editable, with its dependencies and those of EXTRA. Does nothing if the
# stamp of the last complete installation has this folder, this pyproject.toml and this extra. The extras of the scripts
# in this folder include suite, so a call for suite is satisfied by any of them.
install_package() {
    local extra=$1 stamp=.venv/installed.stamp key info
    venv_is_whole || make_venv
    key="$PWD $(cksum <pyproject.toml)"
    if [[ -f $stamp ]]; then
        [[ $(<"$stamp") == "$key $extra" || ($extra == suite && $(<"$stamp") == "$key "*) ]] && return
    fi
    if [[ $(uname -s) == Linux && -z ${PIP_INDEX_URL:-}${PIP_EXTRA_INDEX_URL:-} ]] &&
        ! command -v nvidia-smi >/dev/null; then
        say "no NVIDIA GPU found: docs/getting_started.md shows how to install PyTorch without CUDA, which is smaller"
    fi
    say "installing sparseift[$extra] into .venv (takes minutes the first time)"
    rm -f "$stamp"
    for info in .venv/lib/python3*/site-packages/*.dist-info; do
        [[ -f $info/INSTALLER ]] || rm -rf "$info" # interrupted: pip would consider it installed
    done
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
    printf '%s\n' "$key $extra" >"$stamp"
}
