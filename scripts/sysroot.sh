#!/usr/bin/env bash
# Fills build/sysroot-arm64 with the arm64 libraries that the cross build needs: downloaded and unpacked by apt and
# dpkg-deb under a private state folder, so it needs no root and leaves the machine's packages alone.
# Exit status: 0 done (or there already), 3 with one line of reason if this machine cannot have them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sysroot=$PWD/build/sysroot-arm64
packages=(libc6-dev libgomp1 libcjson-dev libxxhash-dev libpcre2-dev libutf8proc-dev libcriterion-dev)
stamp="${packages[*]}"
[[ -f $sysroot/.complete && $(<"$sysroot/.complete") == "$stamp" ]] && exit 0

skip() {
    echo "$1"
    exit 3
}
command -v apt-get >/dev/null || skip "needs apt-get"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
cat >"$work/apt.conf" <<EOF
Dir::State "$work/state";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
APT::Install-Recommends "false";
EOF
export APT_CONFIG=$work/apt.conf
log=$work/log
apt-get -qq update >"$log" 2>&1 || true # a source without arm64 (Ubuntu keeps it elsewhere) shows below
if ! apt-get -qq -y --download-only install "${packages[@]}" >>"$log" 2>&1; then
    skip "this machine's package sources have no arm64 libraries ($(tail -n 1 "$log"))"
fi

rm -rf "$sysroot"
mkdir -p "$sysroot/usr/lib"
ln -s usr/lib "$sysroot/lib" # where a release has merged /usr, packages rely on this link
for package in "$work"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" |
        tar -x --keep-directory-symlink --no-same-owner -C "$sysroot" ./usr ./lib 2>>"$log" || true
done
[[ -e $sysroot/lib/ld-linux-aarch64.so.1 && -e $sysroot/usr/include/criterion/criterion.h ]] ||
    skip "the arm64 packages did not unpack ($(tail -n 1 "$log"))"
echo "$stamp" >"$sysroot/.complete"
