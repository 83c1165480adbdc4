#!/usr/bin/env bash
# scripts/hardening.sh BUILD: whether what `cmake --install BUILD` leaves is linked as cmake/MoeFlags.cmake means a
# release to be. Names each program, or libmoe, and what it lacks.
set -euo pipefail

[[ $# -eq 1 ]] || {
    echo "usage: scripts/hardening.sh BUILD" >&2
    exit 2
}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install "$1" --prefix "$prefix" >/dev/null

faults=0
# wants FILE WHAT TEXT PATTERN: a line of the text matches the pattern.
wants() {
    grep -qE -- "$4" <<<"$3" || {
        echo "${1#"$prefix/"}: $2"
        faults=$((faults + 1))
    }
}
# refuses FILE WHAT TEXT PATTERN: no line does.
refuses() {
    if grep -qE -- "$4" <<<"$3"; then
        echo "${1#"$prefix/"}: $2"
        faults=$((faults + 1))
    fi
}

check() {
    local file=$1 dynamic segments symbols paths
    dynamic=$(readelf -dW "$file")
    segments=$(readelf -lW "$file")
    symbols=$(nm -D --undefined-only "$file")
    paths=$(sed -n 's/.*(R\(UN\)\?PATH).*\[\(.*\)\]/\2/p' <<<"$dynamic" | tr : '\n')
    wants "$file" "not position-independent" "$(readelf -hW "$file")" 'Type: +DYN'
    refuses "$file" "code that is relocated when it is loaded" "$dynamic" 'TEXTREL'
    wants "$file" "tables of addresses stay writable (no RELRO)" "$segments" 'GNU_RELRO'
    wants "$file" "functions are looked up when they are called (no BIND_NOW)" "$dynamic" 'BIND_NOW|FLAGS_1.*NOW'
    wants "$file" "no word about its stack" "$segments" 'GNU_STACK'
    refuses "$file" "an executable stack" "$segments" 'GNU_STACK.* RWE '
    refuses "$file" "a segment that is writable and executable" "$segments" 'LOAD.* RWE '
    wants "$file" "no stack protector" "$symbols" '__stack_chk_fail'
    wants "$file" "nothing fortified (_FORTIFY_SOURCE)" "$symbols" '__[a-z]+_chk(@|$)'
    # beside the file, wherever that is, or where the system has OpenBLAS; not in the build tree, nor in a folder that
    # depends on who starts the program
    [[ -z $paths ]] || refuses "$file" "looks for libraries in ${paths//$'\n'/:}" "$paths" "^$|^[^/\$]|^$root(/|$)"
}

n=0
while IFS= read -r -d '' file; do
    check "$file"
    n=$((n + 1))
done < <(find "$prefix" -type f \( -path '*/bin/*' -o -name 'libmoe.so*' \) -print0)
[[ $n -ge 5 ]] || {
    echo "only $n files were installed"
    faults=$((faults + 1))
}
[[ $faults -eq 0 ]]
