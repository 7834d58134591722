# Sourced by run-good, run-tests and whatever else must work in a fresh clone: makes the checkout's virtual environment.
#
#   . .ci/setup.sh; set_up [EXTRA]
#
# Afterwards .venv/bin holds python and osp2p and, with the extra "test", what the tests need. PYTHON=/path/to/python
# chooses the interpreter. The file .venv/osp2p-stamp says what was installed, so that the next run has nothing to do;
# while .venv/osp2p-unfinished exists an earlier run was interrupted, and the environment is made anew.

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
}

# Sets python to the first interpreter that is new enough and has venv and ensurepip, or ends with one clear line.
find_python() {
    local candidate version newest_unfit='' unfit_venv=''
    for candidate in ${PYTHON:+"$PYTHON"} ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
        version=$(version_of "$candidate") || continue
        if ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            newest_unfit=$version
        elif ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            unfit_venv=${unfit_venv:-${version%.*}}
        else
            python=$candidate
            return
        fi
    done
    if [ -n "$unfit_venv" ]; then
        fail "Python $unfit_venv has no working venv module; install it (Debian, Ubuntu: apt install python$unfit_venv-venv)"
    elif [ -n "$newest_unfit" ]; then
        fail "Python $newest_unfit is too old; install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)"
    fi
    fail "there is no ${PYTHON:-python3}; install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)"
}

# What the stamp must say: the place (an environment cannot be moved), the Python, and the hash of what asks for packages.
wanted_stamp() {
    printf '%s\n%s\n' "$PWD" "$(version_of .venv/bin/python)"
    cat setup.cfg pyproject.toml | cksum
}

# Whether .venv is whole and holds what EXTRA needs. The stamp's last line names the extras that were installed.
is_ready() {
    [ -f .venv/osp2p-stamp ] && [ ! -e .venv/osp2p-unfinished ] && [ -x .venv/bin/osp2p ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of .venv/bin/python)" ] || return 1
    local stamp
    stamp=$(cat .venv/osp2p-stamp)
    [ "${stamp%$'\n'*}" = "$(wanted_stamp)" ] || return 1
    [ -z "$1" ] || [ "${stamp##*$'\n'}" = "extras=$1" ]
}

# Whether .venv can be installed into as it is: not half-made, of a Python that still runs here, and at its old place.
is_usable() {
    [ ! -e .venv/osp2p-unfinished ] && .venv/bin/python -m pip --version >/dev/null 2>&1 || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of .venv/bin/python)" ] || return 1
    [ ! -f .venv/osp2p-stamp ] || [ "$(head -2 .venv/osp2p-stamp)" = "$(wanted_stamp | head -2)" ] || return 1
    .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

make_environment() {
    if ! is_usable; then
        local python output
        find_python
        echo "making .venv with $python ($(version_of "$python"))" >&2
        rm -rf .venv
        mkdir .venv
        : >.venv/osp2p-unfinished
        output=$("$python" -m venv .venv 2>&1) || fail "cannot make a virtual environment in $PWD/.venv: $output"
    fi
    : >.venv/osp2p-unfinished
    echo "installing osp2p and what it needs into .venv" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${1:+[$1]}" >&2 ||
        fail "pip could not install what osp2p needs (see above); the first run needs a package index such as pypi.org"
    {
        wanted_stamp
        printf 'extras=%s\n' "$1"
    } >.venv/osp2p-stamp
    rm .venv/osp2p-unfinished
}

# set_up [EXTRA]: does nothing, quickly, where nothing is left to do. Two runs at a time take turns.
set_up() {
    is_ready "${1:-}" && return
    (
        ! command -v flock >/dev/null || flock 9
        is_ready "${1:-}" || make_environment "${1:-}"
    ) 9<"$PWD" || exit
}
