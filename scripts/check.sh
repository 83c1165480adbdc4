#!/usr/bin/env bash
# scripts/check.sh [--fast]: installs what is missing, builds in every way and runs every test; what a commit must pass.
# --fast: one build (warnings are errors) and its fast tests. Logs of all steps: build/check/.
# shellcheck disable=SC2317  # most functions are called by name, through step
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

fast=false
case ${1:-} in
"") ;;
--fast) fast=true ;;
*)
    echo "usage: scripts/check.sh [--fast]" >&2
    exit 2
    ;;
esac

jobs=$(nproc)
[[ $jobs -le 4 ]] || jobs=4 # the tests are threaded themselves
logs=$PWD/build/check
mkdir -p "$logs"
passed=0 failed=0 skipped=0 # test cases; a step that fails without naming a case counts as one

line() { printf '%-6s %-34s %6.1f s  %s\n' "$1" "$2" "$3" "${4:-}"; }
now() { date +%s.%N; }
since() { echo "$(now) - $1" | awk '{ print $1 - $3 }'; }

# step NAME COMMAND...: one line, and the end of its output if it fails. Returns the command's status.
step() {
    local name=$1 log start status=0
    shift
    log=$logs/${name//[^a-zA-Z0-9]/-}.log
    start=$(now)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [[ $status -eq 0 ]]; then
        line ok "$name" "$(since "$start")"
    else
        line FAILED "$name" "$(since "$start")" "status $status, whole log: $log"
        tail -n 60 "$log" | sed 's/^/    | /'
        failed=$((failed + 1))
    fi
    return "$status"
}
skip_step() {
    line skip "$1" 0 "$2"
    skipped=$((skipped + 1))
}

# Adds up the cases in the log that ctest leaves: Criterion's own counts where a test prints them (with the cases that it
# skips by name), unittest's likewise, else the test counts as one.
count_cases() {
    awk '
        function close_test() {
            if (!open) return
            if (!p && !f && !s) { if (result == "Passed") p = 1; else if (result == "Skipped") s = 1; else f = 1 }
            if (result == "Failed" && !f) f = 1
            passed += p; failed += f; skipped += s; open = 0
        }
        function value(name) { return match($0, name "=[0-9]+") ? substr($0, RSTART + length(name) + 1, RLENGTH) + 0 : 0 }
        /^[0-9]+\/[0-9]+ Testing: / { close_test(); open = 1; p = f = s = 0; result = "Failed" }
        /Synthesis: Tested: / {
            gsub(/[^0-9 ]/, ""); split($0, n, " "); p += n[2]; f += n[3] + n[4]
        }
        /\[SKIP\]/ { s++ }
        /^Ran [0-9]+ tests? in / { ran = $2 }
        /^(OK|FAILED)($| \()/ && ran {
            bad = value("failures") + value("errors"); skips = value("skipped")
            p += ran - bad - skips; f += bad; s += skips; ran = 0
        }
        /^Test (Passed|Failed|Skipped)/ { sub(/\.$/, "", $2); result = $2 }
        END { close_test(); printf "%d %d %d\n", passed, failed, skipped }
    ' <(sed 's/\x1b\[[0-9;]*m//g' "$1")
}

# What was skipped and why, each reason once with its number of cases.
skip_reasons() {
    sed -n -e 's/\x1b\[[0-9;]*m//g' -e 's/.*\[SKIP\] [^ ]*: //p' -e "s/.* \.\.\. skipped ['\"]\(.*\)['\"]$/\1/p" \
        -e 's/^skipped: //p' "$1" | sort | uniq -c | sed 's/^ *\([0-9]*\) /    skipped \1: /'
}

# tests PRESET [ctest option...]: runs the tests of a build and adds its cases to the totals.
tests() {
    local preset=$1 log=$logs/tests-$1.log start status=0 p f s
    shift
    start=$(now)
    rm -f "build/$preset/Testing/Temporary/LastTest.log"
    ctest --preset "$preset" --parallel "$jobs" --no-tests=error "$@" >"$log" 2>&1 </dev/null || status=$?
    read -r p f s < <(count_cases "build/$preset/Testing/Temporary/LastTest.log" 2>/dev/null)
    [[ $status -eq 0 || ${f:-0} -gt 0 ]] || f=1
    passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
    if [[ $status -eq 0 ]]; then
        line ok "tests: $preset" "$(since "$start")" "$p passed, $s skipped"
        skip_reasons "build/$preset/Testing/Temporary/LastTest.log"
    else
        line FAILED "tests: $preset" "$(since "$start")" "${p:-0} passed, ${f:-1} failed, whole log: $log"
        grep -v '\[RUN \]\|\[PASS\]\|^$' "$log" | tail -n 100 | sed 's/^/    | /'
    fi
}

build() {
    local preset=$1
    shift
    cmake --preset "$preset" -DMOE_TESTS=ON -DPython3_EXECUTABLE="$PWD/.venv/bin/python" "$@" &&
        cmake --build "build/$preset" --parallel "$jobs"
}
# built_and_tested PRESET [ctest option...]
built_and_tested() {
    if step "build: $1" build "$1"; then tests "$@"; fi
}

c_files() { git ls-files '*.c' '*.h'; }
check_format() { c_files | xargs .venv/bin/clang-format --dry-run -Werror; }
check_scripts() { git ls-files '*.sh' .ci/run | xargs shellcheck; }
check_python() { .venv/bin/ruff check . && git ls-files '*.py' | xargs .venv/bin/mypy; }
check_cppcheck() {
    cppcheck --project=build/clang/compile_commands.json -i tests --enable=warning,style,performance,portability,information \
        --inconclusive --suppressions-list=cmake/cppcheck.txt --error-exitcode=1 -j "$jobs" --quiet
}
check_tidy() { run-clang-tidy -quiet -j "$jobs" -p build/clang; }

# Every header compiles alone; the public one as any C or C++ it may be read by.
check_headers() {
    local header language
    for language in "c -std=c99" "c -std=c11" "c++ -std=c++11"; do
        # shellcheck disable=SC2086  # two words
        gcc -x $language -pedantic-errors -Wall -Wextra -Werror -fsyntax-only engine/moe.h || return 1
    done
    while read -r header; do
        gcc -x c -std=c11 -D_GNU_SOURCE -I. -Wall -Werror -fsyntax-only \
            -include "$header" /dev/null || return 1
    done < <(git ls-files 'base/*.h' 'loader/*.h' 'models/*.h' 'text/*.h' 'engine/*.h' 'kernels/*.h' ':!kernels/*/*.h' ':!text/*_tables.h')
}

check_symbols() {
    local foreign
    foreign=$(nm -D --defined-only build/release/libmoe.so | awk '{ print $3 }' | grep -v '^moe_')
    [[ -z $foreign ]] || { echo "libmoe exports: $foreign" && return 1; }
}

# Installs to a folder of its own, then uses only that: a client through pkg-config, and moe-run with the shipped model.
check_install() (
    set -e
    prefix=$(mktemp -d)
    trap 'rm -rf "$prefix"' EXIT
    cmake --install build/release --prefix "$prefix"
    export PKG_CONFIG_PATH
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name moe.pc)")
    cat >"$prefix/client.c" <<'EOF'
#include <moe.h>
#include <stdio.h>

int main(int argc, char **argv) {
    moe_error err;
    moe_model *model;
    if (argc != 2 || moe_model_open(&model, argv[1], NULL, &err) != MOE_OK) return 1;
    printf("libmoe %s: %s\n", moe_version(), moe_model_get_info(model)->family);
    moe_model_close(model);
    return 0;
}
EOF
    # shellcheck disable=SC2046  # flags are words
    gcc -std=c99 -Wall -Werror "$prefix/client.c" $(pkg-config --cflags --libs moe) -o "$prefix/client"
    LD_LIBRARY_PATH=$(pkg-config --variable=libdir moe) "$prefix/client" "$prefix/share/moe/storyteller"
    cd /
    env -i PATH=/usr/bin:/bin HOME=/nonexistent "$prefix/bin/moe-run" -p "Once upon a time" -n 8 --temperature 0
)

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [[ $failed -eq 0 && $passed -gt 0 ]]
    exit
}

step "set-up" scripts/setup.sh test || finish
step "format" check_format
if $fast; then
    built_and_tested dev --label-regex fast
    finish
fi
step "shell scripts" check_scripts
step "python" check_python
step "headers" check_headers

built_and_tested dev
if step "build: clang" build clang; then
    if clang-tidy --version | grep -q 'version 14\.'; then
        step "clang-tidy" check_tidy
    else
        skip_step "clang-tidy" "kept clean for version 14, here is $(clang-tidy --version | grep -o 'version [0-9]*')"
    fi
    if [[ $(cppcheck --version) == 'Cppcheck 2.10'* ]]; then
        step "cppcheck" check_cppcheck
    else
        skip_step "cppcheck" "kept clean for version 2.10, here is $(cppcheck --version)"
    fi
fi
if step "build: release" build release; then
    tests release
    step "exported symbols" check_symbols
    step "hardening" scripts/hardening.sh build/release
    step "install" check_install
    step "live oracle" .venv/bin/python scripts/live_oracle.py --rotate 11
    # the seed, the families and the verdict, also when all is well: a run can be repeated
    sed -n 's/^\(seed .*\|[0-9]* of .* seed .*\|largest difference .*\)$/    \1/p' "$logs/live-oracle.log"
fi
if step "coverage" scripts/coverage.sh; then sed 's/^/    /' "$logs/coverage.log"; fi
built_and_tested asan
built_and_tested tsan
if [[ $(uname -m) != x86_64 ]]; then
    skip_step "NEON under qemu" "this machine is $(uname -m) itself: the other builds test it"
elif reason=$(scripts/sysroot.sh); then
    built_and_tested aarch64
else
    skip_step "NEON under qemu" "$reason"
fi
finish
