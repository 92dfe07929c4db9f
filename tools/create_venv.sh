#!/bin/sh
# Create the virtual environment FOLDER, or say which package is missing. Usage: create_venv.sh PYTHON FOLDER
set -eu
python=$1
folder=$2

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

if "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

"$python" -c '' 2>/dev/null || stop \
    "Python was not found: '$python' does not run." \
    "Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv python3-pip)," \
    "or name the one to use: make PYTHON=/path/to/python3.12"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || stop \
    "Python 3.11 or newer is needed, but '$python' is $("$python" -c 'import platform; print(platform.python_version())')." \
    "Name a newer one: make PYTHON=python3.12"

# Debian ships python3 without these two: venv is then there by name only, and would fail halfway.
"$python" -c 'import venv, ensurepip' 2>/dev/null || stop \
    "'$python' lacks the modules venv and pip." \
    "Install them (Debian, Ubuntu: apt install python3-venv python3-pip)," \
    "or name another Python: make PYTHON=python3.12"

"$python" -m venv --clear "$folder" || stop \
    "'$python' could not create the virtual environment '$folder': see the message above." \
    "On Debian and Ubuntu, this often helps: apt install python3-venv python3-pip"
