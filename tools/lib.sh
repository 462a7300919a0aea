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

# Gives what root has made in the checkout to its owner, such as the records of ctest.
give_back() {
    local owner
    owner=$(stat -c %U "$root")
    [[ $EUID -ne 0 || $owner == root || $owner == UNKNOWN ]] ||
        find "$root" -xdev -user root -exec chown -h "$owner:" {} +
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

# build_release DIRECTORY [OPTION...]: as users build it. Changes the directory: for a subshell.
build_release() {
    local build=$1 log
    shift
    cd "$root"
    log=$(as_owner cmake --preset release -B "$build" "$@" 2>&1 && as_owner cmake --build "$build" 2>&1) ||
        fail "the build failed:"$'\n'"$(tail -n 25 <<<"$log")"
}

# What a command prints on a line of its own for each piece of work that it has done.
# shellcheck disable=SC2034 # for those who source this
count_mark='@done@'

# count_up TOTAL WHAT: passes stdin on without these lines; on descriptor 3 it shows how many there
# have been, in one line that is overwritten or, where that is no terminal, every 20 %.
count_up() {
    local total=$1 what=$2 n=0 line shown=0
    while IFS= read -r line; do
        if [[ $line != "$count_mark" ]]; then
            printf '%s\n' "$line"
            continue
        fi
        n=$((n + 1))
        if [[ -t 3 ]]; then
            printf '\r\033[K    %s: %d of %d' "$what" "$n" "$total" >&3
        elif ((n * 5 / total > shown)); then
            shown=$((n * 5 / total))
            printf '    %s: %d of %d\n' "$what" "$n" "$total" >&3
        fi
    done
    [[ ! -t 3 ]] || printf '\r\033[K' >&3
}

# Runs a command that ends with this script, and of which nothing is left: see tools/isolate.
run_isolated() {
    setpriv --pdeathsig KILL "$root/tools/isolate" "$@" &
    world=$!
    trap 'kill -KILL "$world" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM HUP
    wait "$world"
}
