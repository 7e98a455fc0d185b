#!/bin/sh
# Programs that tests/hosts needs beside Python. Run as root on Debian or Ubuntu; safe to repeat.
set -eu
missing=""
for pair in ip:iproute2 sshd:openssh-server ssh:openssh-client rsync:rsync unshare:util-linux \
    redis-server:redis-server; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
# a library and no program: the clock of one process goes wrong with it
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "tests/hosts needs:$missing (run this script as root)" >&2
    exit 1
fi
# policy-rc.d keeps the package from starting a server of its own on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -q
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
