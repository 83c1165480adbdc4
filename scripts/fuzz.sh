#!/usr/bin/env bash
# scripts/fuzz.sh TARGET MINUTES [libFuzzer option...]: builds the target (preset fuzz) and fuzzes it from the seeds of
# tests/fuzz/corpus and what earlier runs found, which is kept in build/fuzz/corpus. The last line sums up; exit status 1
# if an input crashed, hung, leaked or took too much memory, with the path of that input. docs/fuzzing.md
# scripts/fuzz.sh --list: the targets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

list() { sed -n 's/^moe_fuzz(\([a-z]*\) .*/\1/p' tests/fuzz/CMakeLists.txt; }
usage() {
    echo "usage: scripts/fuzz.sh TARGET MINUTES [libFuzzer option...]" >&2
    echo "       scripts/fuzz.sh --list" >&2
    exit 2
}
if [[ $# -eq 1 && $1 == --list ]]; then
    list
    exit
fi
[[ $# -ge 2 && $2 =~ ^[1-9][0-9]{0,4}$ ]] || usage
target=$1 minutes=$2
shift 2
list | grep -qx -- "$target" || usage

log=build/fuzz/$target.log
mkdir -p "build/fuzz/corpus/$target" "build/fuzz/crashes/$target"
# quietly COMMAND...: its output is shown only if it fails.
quietly() {
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 30 "$log" >&2
        echo "fuzz: failed: $*" >&2
        exit 1
    }
}
quietly cmake --preset fuzz
quietly cmake --build build/fuzz --parallel 2 --target "fuzz_$target" "replay_$target"

# The largest input: a few times what is needed to reach everything, since what is longer only costs time.
case $target in
packed) max_len=24576 ;;
tokenizer) max_len=8192 ;;
prompt) max_len=1024 ;;
*) max_len=4096 ;;
esac
# A gibibyte is what a file may cost the engine. It holds with the address sanitizer too, once that does not keep 256 MiB
# of freed memory, which it does by default.
options=(-max_total_time=$((minutes * 60)) -timeout=5 -rss_limit_mb=1024 "-max_len=$max_len" -print_final_stats=1
    -artifact_prefix="build/fuzz/crashes/$target/")
[[ ! -e tests/fuzz/$target.dict ]] || options+=("-dict=tests/fuzz/$target.dict")
export ASAN_OPTIONS=quarantine_size_mb=64:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}

# Files that are written for every input are better in memory; a crash leaves them behind.
above=/tmp
[[ ! -w /dev/shm ]] || above=/dev/shm
TMPDIR=$(mktemp -d -p $above)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
touch "$TMPDIR/start"
status=0
"build/fuzz/fuzz_$target" "${options[@]}" "$@" "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
    >"$log" 2>&1 </dev/null || status=$?

crashes=()
while read -r path; do crashes+=("$path"); done < <(find "build/fuzz/crashes/$target" -type f \
    -newer "$TMPDIR/start" ! -name 'slow-unit-*' | sort)
awk -v target="$target" -v crashes="${#crashes[@]}" '
    match($0, / cov: [0-9]+/) { cov = substr($0, RSTART + 6, RLENGTH - 6) }
    match($0, / ft: [0-9]+/) { features = substr($0, RSTART + 5, RLENGTH - 5) }
    match($0, / corp: [0-9]+/) { inputs = substr($0, RSTART + 7, RLENGTH - 7) }
    /^stat::number_of_executed_units:/ { n = $2 }
    /^stat::average_exec_per_sec:/ { speed = $2 }
    END {
        printf "%s: %d executions, %d per second, coverage %d edges and %d features, %d inputs kept, %d crashes\n",
            target, n, speed, cov, features, inputs, crashes
    }' "$log"
if [[ ${#crashes[@]} -gt 0 || $status -ne 0 ]]; then
    grep -m 3 -E 'does not hold|ERROR: |SUMMARY: |runtime error: ' "$log" >&2 || tail -n 5 "$log" >&2
    for path in "${crashes[@]}"; do echo "fuzz: build/fuzz/replay_$target $path" >&2; done
    echo "fuzz: log: $log" >&2
    exit 1
fi
