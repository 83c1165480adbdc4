#!/usr/bin/env bash
# scripts/demo.sh [moe-run option...]: installs what is missing, builds, and lets the shipped model tell a story.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

"$here/scripts/setup.sh" build
log=$(mktemp)
trap 'rm -f "$log"' EXIT
build() {
    cmake --preset release && cmake --build --preset release --parallel "$(nproc)" \
        --target moe-run moe-bench moe-compare
}
if ! (cd "$here" && build) >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "demo: the build failed" >&2
    exit 1
fi

if [[ $# -eq 0 ]]; then
    echo "demo: a small mixture-of-experts model that ships with moe continues \"Once upon a time, there was\":" >&2
    set -- -p "Once upon a time, there was" -n 400
fi
"$here/build/release/moe-run" "$@"
