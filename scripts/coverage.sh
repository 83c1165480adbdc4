#!/usr/bin/env bash
# scripts/coverage.sh [--list FOLDER...]: which lines and branches the tests run, as a table per folder. Fails if a
# branch of loader/ or text/, which read files, is not taken, or fewer than 90 % of all lines run; excluded is what
# scripts/coverage_exclusions.txt names. --list: the untaken branches of other folders.
# 4 minutes on 2 cores, of which the build is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=build/coverage
jobs=$(nproc)
[[ $jobs -le 4 ]] || jobs=4
log=$build/coverage.log

# quietly COMMAND...: its output is shown only if it fails.
quietly() {
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 60 "$log"
        echo "coverage: failed: $*" >&2
        exit 1
    }
}

mkdir -p "$build"
quietly cmake --preset coverage -DMOE_TESTS=ON -DPython3_EXECUTABLE="$PWD/.venv/bin/python"
quietly cmake --build "$build" --parallel "$jobs"

# Kernels that this CPU cannot run are no lack of tests.
not_here=() exclude=()
for folder in kernels/*/vec.h; do
    isa=$(basename "$(dirname "$folder")")
    "$build/moe-run" --isa "$isa" --ids 1 -n 1 --print-ids >/dev/null 2>&1 && continue
    not_here+=("$isa")
    exclude+=(--exclude-directories ".*/moe_kernels\\.dir/$isa\$")
done
find "$build" -name '*.gcda' -delete

# Not what takes long and compares with the reference: tests of their own reach those lines. With one thread the counts
# of optimised loops are exact, nothing spins, and tests that want two processors need one; two threads once, for the
# code that waits.
others='_differential$|^scripts_quantise$|^bench_scripts$'
quietly env OMP_THREAD_LIMIT=1 ctest --preset coverage --parallel $((2 * jobs)) --no-tests=error -E "$others|^cli_run\$"
quietly env OMP_THREAD_LIMIT=2 ctest --preset coverage --no-tests=error -R '^cli_run$'

# Counts of threads that met in an optimised loop may be a little off, below zero even: gcovr takes those for zero.
quietly .venv/bin/gcovr --root . --object-directory "$build" -j "$jobs" "${exclude[@]}" \
    --filter '(base|loader|models|kernels|engine|text|cli|bench)/' \
    --gcov-ignore-parse-errors=negative_hits.warn_once_per_file --gcov-suspicious-hits-threshold 0 \
    --json "$build/coverage.json"
status=0
.venv/bin/python scripts/coverage_table.py "$build/coverage.json" \
    --exclusions scripts/coverage_exclusions.txt "$@" || status=$?
[[ ${#not_here[@]} -eq 0 ]] || echo "not counted, for this CPU cannot run them: kernels/ of ${not_here[*]}"
exit "$status"
