#!/bin/sh
# Runs the integration tests as an ordinary user.
#
#   as_user.sh USER [pytest arguments, paths as from the top]
#
# Root uses runuser; USER itself may run it too.  PYTHON names the interpreter with
# the test packages (default: python3), RINGFENCE_PREFIX the installation.  Where USER
# cannot read the tests or the installation where they lie, copies are used; an
# installation that does not bear being moved has to be made readable first.  Where
# /dev/net/tun is root's alone, root makes it everybody's for these tests, in a mount
# namespace of their own: with most systems it is so, and kernels have a network then.
# DELEGATE=1: in cgroups (v1: memory, pids, cpu) that root makes and gives to USER.
set -eu

[ $# -ge 1 ] || { echo "usage: $0 USER [pytest arguments, paths as from the top]" >&2; exit 2; }
user=$1
shift
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS:-}" ] && unshare --mount true 2>/dev/null; then
    OWN_MOUNTS=1 exec unshare --mount "$0" "$user" "$@"
fi
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
prefix=${RINGFENCE_PREFIX:-}

as_user() {
    if [ "$(id -u)" = 0 ]; then runuser -u "$user" -- "$@"; else "$@"; fi
}

work=$(mktemp -d /tmp/rfuser.XXXXXX)
delegated=''
clean_up() {
    for folder in $delegated; do
        echo $$ >"${folder%/*}/cgroup.procs"
        find "$folder" -depth -type d -exec rmdir {} +
    done
    rm -rf "$work"
}
trap clean_up EXIT
chmod 755 "$work"

as_user "$python" -c 'import pytest, jupyter_client' 2>/dev/null || {
    echo "$0: $user cannot run $python with pytest and jupyter_client; name another" \
        "interpreter in PYTHON" >&2
    exit 2
}

if [ -n "${OWN_MOUNTS:-}" ] && [ -c /dev/net/tun ] && ! as_user test -w /dev/net/tun; then
    mknod -m 666 "$work/tun" c 10 200
    mount --bind "$work/tun" /dev/net/tun
fi

delegate() { # CONTROLLER
    own=$(sed -nE "s/^[0-9]+:([^:]*,)?$1(,[^:]*)?:(.*)/\\3/p" /proc/self/cgroup)
    folder=/sys/fs/cgroup/$1${own%/}/rf-delegated-$$
    mkdir "$folder"
    delegated="$delegated $folder"
    chown -R "$user" "$folder"
    echo $$ >"$folder/cgroup.procs"
}
if [ -n "${DELEGATE:-}" ]; then
    for controller in memory pids cpu; do delegate $controller; done
fi

readable() { as_user test -r "$1" 2>/dev/null; }

mkdir -p "$work/tests"
cp -R "$here" "$work/tests/integration"
[ ! -d "$top/notebooks" ] || cp -R "$top/notebooks" "$work/notebooks"
if [ -n "$prefix" ] && ! readable "$prefix/share/jupyter/kernels/ringfence/kernel.json"; then
    cp -R "$prefix" "$work/prefix"
    sed -i "s|$prefix|$work/prefix|g" "$work"/prefix/share/jupyter/kernels/*/kernel.json
    prefix=$work/prefix
fi
chmod -R a+rX "$work"

cd "$work"
as_user env PYTHONDONTWRITEBYTECODE=1 RINGFENCE_PREFIX="$prefix" HOME="$work" \
    "$python" -m pytest "$@"
