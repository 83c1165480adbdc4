#!/usr/bin/env bash
# scripts/setup.sh build|test: installs what the build (or the build and every test) needs and this machine lacks.
# Debian 12 and later, Ubuntu 24.04 and later; as root or with sudo. What is there already, from wherever it came, is
# used. Says nothing when there is nothing to do; runs any number of times.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
# need PACKAGE COMMAND...: the package is missing if the command fails.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }
library() { has pkg-config && pkg-config --exists "$1"; }
# compiles HEADER COMPILER [option...]
compiles() { echo "#include <$1>" | "${@:2}" -E -; }
cmake_is_recent() {
    has cmake && printf '3.21\n%s\n' "$(cmake --version | sed -n '1s/.* //p')" | sort -C -V
}
python_is_complete() { python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))'; }
clang_has() { has clang && [[ -e $(clang -print-file-name="$1") ]]; }
# The runtime of clang's sanitizers is a package of its own, named after the release's version of clang.
clang_runtime() {
    echo "libclang-rt-$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')-dev"
}

look_for_build() {
    need gcc has gcc
    need libc6-dev compiles stdio.h gcc
    need cmake cmake_is_recent
    need ninja-build has ninja
    need pkg-config has pkg-config
    need libcjson-dev library libcjson
    need libxxhash-dev library libxxhash
    need libpcre2-dev library libpcre2-8
    need libutf8proc-dev library libutf8proc
    need libopenblas-openmp-dev library openblas
}
look_for_test() {
    need git has git
    need g++ has g++
    need python3 has python3
    need python3-venv python_is_complete
    need libcriterion-dev library criterion
    need locales test -e /usr/share/i18n/locales/de_DE # a test makes a locale with a decimal comma
    need clang has clang
    need clang-tidy has clang-tidy
    need cppcheck has cppcheck
    need libomp-dev compiles omp.h clang -fopenmp
    need "$(clang_runtime)" clang_has "libclang_rt.tsan-$(uname -m).a"
    need shellcheck has shellcheck
    if [[ $(uname -m) == x86_64 ]]; then
        need gcc-aarch64-linux-gnu has aarch64-linux-gnu-gcc
        need qemu-user has qemu-aarch64
    fi
}

fail() {
    echo "setup: $1" >&2
    exit 1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# quietly COMMAND...: its output is shown only if it fails.
quietly() {
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 30 "$log" >&2
        fail "failed: $*"
    }
}

install_missing() {
    [[ ${#missing[@]} -gt 0 ]] || return 0
    has apt-get >/dev/null || fail "please install by hand (no apt-get here): ${missing[*]}"
    local root=()
    if [[ $(id -u) -ne 0 ]]; then
        has sudo >/dev/null || fail "neither root nor sudo; please install: ${missing[*]}"
        root=(sudo)
    fi
    # a package source that cannot be reached matters only if a package is then missing
    "${root[@]}" apt-get -qq update >"$log" 2>&1 </dev/null || true
    missing=()
    "look_for_$1" # again: the name of clang's runtime is known only now
    echo "setup: installing ${missing[*]}" >&2
    quietly "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=600 \
        install --no-install-recommends "${missing[@]}"
}

# The Python that tests compare with lives in .venv, made anew when the list of its packages changes.
make_venv() {
    local wanted=scripts/requirements.txt stamp=.venv/.requirements
    cmp -s "$wanted" "$stamp" && .venv/bin/python -c '' 2>/dev/null && return 0
    python_is_complete >/dev/null 2>&1 || fail "$(python3 --version) is too old or lacks venv: 3.11 is needed"
    echo "setup: making .venv from $wanted" >&2
    quietly python3 -m venv --clear .venv
    quietly .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$stamp"
}

case ${1:-} in
build)
    look_for_build
    install_missing build
    ;;
test)
    look_for_everything() { look_for_build && look_for_test; }
    look_for_everything
    install_missing everything
    make_venv
    ;;
*)
    echo "usage: scripts/setup.sh build|test" >&2
    exit 2
    ;;
esac
cmake_is_recent >/dev/null || fail "cmake $(cmake --version | sed -n '1s/.* //p') is too old: 3.21 is needed"
