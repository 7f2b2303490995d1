# shellcheck shell=bash disable=SC2034 # what is unused here is used there
# What ./quickstart and ./run-tests share: packages, the one question, the build.
# Sourced with the folder of the clone as current folder.

python=/usr/bin/python3 # Debian's, whatever else the PATH has
meson=/usr/bin/meson
stage=build/stage/prefix

build_packages=(meson ninja-build gcc pkg-config libc6-dev libjansson-dev libsodium-dev
  libuv1-dev libssl-dev libseccomp-dev libpython3-dev musl-tools)
run_packages=(python3-ipython python3-matplotlib-inline python3-comm python3-jupyter-client
  python3-nbclient python3-nbformat slirp4netns)

say() { printf '%s\n' "$@"; } # a line per argument
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

# Prints those of its arguments that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
      say "$package"
  done
}

# "MB to download, MB on disk" of these packages with what they need, as far as
# apt knows its archive; else nothing.
package_sizes() {
  local list
  list=$(apt-get -s --no-install-recommends install "$@" 2>/dev/null | awk '/^Inst/ {print $2}')
  [ -n "$list" ] || return 0
  # shellcheck disable=SC2086 # one word per package
  apt-cache show --no-all-versions $list 2>/dev/null | awk '
    /^Size:/ {size += $2} /^Installed-Size:/ {disk += $2}
    END {if (size) printf "%d MB to download, %d MB on disk", size / 1e6 + 1, disk / 1024 + 1}'
}

# Is someone there to answer?
has_terminal() { [ -t 0 ] && [ -t 1 ]; }

# Asks unless assume_yes is set or nobody is there.
confirm() {
  local answer
  if [ -n "${assume_yes:-}" ] || ! has_terminal; then return 0; fi
  read -r -p "Go on? [Y/n] " answer
  case $answer in '' | [yY]*) ;; *) say "Nothing was changed."; exit 1 ;; esac
}

# How to become root for apt: prints nothing for root, sudo, or fails.
root_command() {
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || return 1
  if has_terminal; then say sudo; else sudo -n true 2>/dev/null && say "sudo -n"; fi
}

# Installs packages; without a way to do so, says what to run and ends.
install_packages() {
  local as_root
  command -v apt-get >/dev/null ||
    die "this is no Debian; install what these packages hold: $*"
  if ! as_root=$(root_command); then
    say "Packages are missing and there is no sudo here. Run this as root, then start again:"
    say "  apt-get update && apt-get install -y --no-install-recommends $*"
    exit 2
  fi
  # A new machine has no list of packages, an old one may have one that is out of date.
  # shellcheck disable=SC2086 # as_root is a command with its options
  if ! apt-get -s --no-install-recommends install "$@" >/dev/null 2>&1; then
    $as_root apt-get -qq update
  fi
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends
    -o Dpkg::Use-Pty=0 install "$@")
  # shellcheck disable=SC2086
  $as_root "${install[@]}" >build/apt.log 2>&1 ||
    { $as_root apt-get -qq update && $as_root "${install[@]}" >build/apt.log 2>&1; } ||
    { tail -n 20 build/apt.log; die "apt-get failed; the whole story is in build/apt.log"; }
}

# The folder for everything that is made here.
make_build_folder() {
  mkdir -p build 2>/dev/null || true
  [ -w build ] ||
    die "cannot write to $PWD/build (made by another user? remove it, or clone again)"
}

# Where the words of a step go: log FOLDER STEP.
log() { say "build/$(basename "$1")-$2.log"; }

# configure FOLDER [meson options]: once, since meson itself sees later changes, and again
# when the clone was moved.
configure() {
  local folder=$1 log version
  shift
  if grep -qsF " $PWD " "$folder/build.ninja"; then return; fi
  rm -rf "$folder"/{build.ninja,meson-info,meson-logs,meson-private}
  log=$(log "$folder" configure)
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$meson" setup "$folder" --prefix=/prefix --buildtype=debugoptimized \
    -Dpython="/usr/bin/python$version" "$@" >"$log" 2>&1 ||
    { tail -n 20 "$log"; die "meson failed; the whole story is in $log"; }
}

# compile FOLDER [targets]
compile() {
  local log
  log=$(log "$1" compile)
  ninja -C "$@" >"$log" 2>&1 ||
    { grep -E -A 5 'error|FAILED' "$log" | head -n 40; die "the build failed; see $log"; }
}

# stage_install BUILD STAGE: STAGE/prefix is then a whole installation.
stage_install() {
  local log
  log=$(log "$1" install)
  DESTDIR=$PWD/$2 "$meson" install -C "$1" --no-rebuild --only-changed --quiet >"$log" 2>&1 ||
    { tail -n 20 "$log"; die "meson install failed; see $log"; }
}
