# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# What the tools here have in common. Sourced, not run.
set -euo pipefail

# shellcheck disable=SC2034 # for those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tool="tools/$(basename "$0")"

fail() {
    printf '%s: %s\n' "$tool" "$*" >&2
    exit 1
}

# The comment at the top of the script is its help.
usage() {
    sed -n '3,/^$/s/^# \{0,1\}//p' "$0"
}

need_root() {
    [[ $EUID -eq 0 ]] || fail "needs root: sudo $tool${1:+ $1}"
}

# Runs a command as the owner of the checkout, so that sudo leaves no file of root's in it.
as_owner() {
    local owner
    owner=$(stat -c %U "$root")
    if [[ $EUID -ne 0 || $owner == root || $owner == UNKNOWN ]]; then
        "$@"
    else
        runuser -u "$owner" -- "$@"
    fi
}

# All files of the project, one a line: git's, new ones included, or those of a tarball.
project_files() {
    if [[ -e $root/.git ]]; then
        git -c safe.directory="$root" -C "$root" ls-files --cached --others --exclude-standard |
            while IFS= read -r file; do
                [[ ! -f $root/$file ]] || printf '%s\n' "$file"
            done
    else
        (cd "$root" && find . -type f -not -path './build/*' -printf '%P\n')
    fi
}

# Milliseconds since an arbitrary moment.
now_ms() {
    local us=${EPOCHREALTIME//[.,]/}
    printf '%s' "$((us / 1000))"
}

# Milliseconds since $1, as seconds with one decimal.
since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' "$((ms / 1000))" "$((ms % 1000 / 100))"
}

# build_without_tests DIRECTORY [OPTION...]: of cmake. No warning is an error: who runs it may have
# a newer compiler. Changes the directory: to be called in a subshell.
build_without_tests() {
    local build=$1 log
    shift
    cd "$root"
    log=$(as_owner cmake --preset release -B "$build" -DMMPROXY_TESTS=OFF \
        -DCMAKE_COMPILE_WARNING_AS_ERROR=OFF "$@" 2>&1 && as_owner cmake --build "$build" 2>&1) ||
        fail "the build failed:"$'\n'"$(tail -n 25 <<<"$log")"
}

end_isolated() {
    kill -KILL "$world" 2>/dev/null || true
    wait "$world" 2>/dev/null || true
    rm -rf "$scratch"
}

# Runs a command in namespaces of its own. The namespace of processes takes everything with it,
# whatever way this ends; with SIGKILL only files in /tmp stay.
run_isolated() {
    local propagation=private
    # Where "/" is no mount point (a plain chroot), the mounts can't be made private.
    unshare --mount true 2>/dev/null || propagation=unchanged
    scratch=$(mktemp -d "/tmp/mmproxy-${tool##*/}.XXXXXX")
    chmod 755 "$scratch"
    TMPDIR=$scratch setpriv --pdeathsig KILL unshare --net --pid --fork --kill-child --mount \
        --propagation "$propagation" --mount-proc "$@" &
    world=$!
    trap end_isolated EXIT
    trap 'exit 130' INT TERM HUP
    wait "$world"
}
