#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# What a test leaves behind is named, and is a failure; it can write below build/ and nowhere else;
# what the host has mounted below /run is in nobody's way. Needs root.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
output=$(mktemp)
trap 'rm -f "$output"; rmdir /run/below 2>/dev/null || true' EXIT
[[ $(id -u) == 0 ]] || exit 77

passes() {
    "$root/tools/isolate" --read-only "$@" >"$output" 2>&1 || {
        printf 'fails: %s\n' "$*"
        cat "$output"
        exit 1
    }
}

# fails_with TEXT COMMAND...
fails_with() {
    local text=$1
    shift
    if "$root/tools/isolate" --read-only "$@" >"$output" 2>&1 || ! grep -q "$text" "$output"; then
        printf 'passes, or does not say "%s": %s\n' "$text" "$*"
        cat "$output"
        exit 1
    fi
}

passes true
passes sh -c 'touch build/isolate-test && rm build/isolate-test'
fails_with 'Read-only file system' touch "$root/left"
fails_with '^  file /tmp/left$' touch /tmp/left
fails_with '^  mount /mnt$' mount -t tmpfs left /mnt
fails_with '^  process [0-9]* sleep 1234$' sh -c 'sleep 1234 &'

mkdir -p /run/below
# shellcheck disable=SC2016 # the inner shell's
unshare --mount sh -ec 'mount --bind "$0/build" /run/below; exec "$0/tools/isolate" --read-only true' "$root"
