#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# When the host boots, what tools/deps has installed does not start, neither its units nor its init
# scripts. Tried in a copy of the host's settings. Needs root.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
[[ $(id -u) == 0 ]] || exit 77
dpkg -L podman nginx-common >/dev/null 2>&1 || exit 77

# shellcheck disable=SC2016 # the inner shell's
"$root/tools/isolate" bash -euo pipefail -c '
    for place in /etc /var/lib/systemd; do
        mkdir -p "/tmp$place/new" "/tmp$place/work"
        mount -t overlay -o "lowerdir=$place,upperdir=/tmp$place/new,workdir=/tmp$place/work" copy "$place"
    done
    starts() {
        find /etc/systemd/system -lname "*/podman*" -o -lname "*/nginx*"
        find /etc/rc?.d -name "S*nginx"
    }
    for action in purge enable; do # as if they had just been installed
        DPKG_MAINTSCRIPT_PACKAGE=test deb-systemd-helper "$action" podman.socket podman-restart.service nginx.service
    done
    update-rc.d nginx defaults
    update-rc.d nginx enable
    for each in podman.socket podman-restart.service nginx.service S??nginx; do
        [[ $(starts) == */$each* ]] || { echo "$each does not start before"; exit 1; }
    done
    tools/deps --disable podman nginx-common
    [[ -z $(starts) ]] || { printf "these still start:\n%s\n" "$(starts)"; exit 1; }
    rm -f /etc/rc?.d/*nginx # where nothing is left to disable, it passes
    tools/deps --disable podman nginx-common'
