#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The versions agree; the tarball has the same bytes wherever and whenever it is made, builds
# what it says, and says so where versions do not agree.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$root/tools/release" --check

# From a clone, so that what is being edited here is not in it.
clone() {
    git -c safe.directory='*' clone -q --no-hardlinks "$root" "$1"
    git -C "$1" config user.name test
    git -C "$1" config user.email test@localhost
    # Not necessarily committed yet, but what is tested.
    cp "$root/tools/release" "$root/tools/lib.sh" "$1/tools/"
    cp "$root/CMakeLists.txt" "$root/CHANGELOG.md" "$1/"
    mkdir -p "$1/debian" && cp "$root/debian/changelog" "$1/debian/"
    git -C "$1" add -A
    GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z' \
        git -C "$1" commit -q --allow-empty -m 'as it is'
}

clone "$scratch/one"
clone "$scratch/two"
find "$scratch/two" -path "$scratch/two/.git" -prune -o -type f -exec touch -d 2001-01-01 {} +
(umask 022 && "$scratch/one/tools/release" "$scratch/first" >/dev/null)
(umask 077 && TZ=Asia/Tokyo LC_ALL=C "$scratch/two/tools/release" "$scratch/second" >/dev/null)
cmp "$scratch"/first/*.tar.gz "$scratch"/second/*.tar.gz
[[ $(tar -tzf "$scratch"/first/*.tar.gz) == *mmproxy-*/CMakeLists.txt* ]]

sed -i '1s/(.*)/(9.9.9)/' "$scratch/one/debian/changelog"
if "$scratch/one/tools/release" --check 2>"$scratch/why"; then
    echo "a wrong version in debian/changelog went unnoticed" >&2
    exit 1
fi
grep -q 'the debian one is "9.9.9"' "$scratch/why"
