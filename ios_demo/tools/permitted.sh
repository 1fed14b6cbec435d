#!/usr/bin/env bash
# Whether Swift can be had here at all: 0, or 1 with the reason on standard output. Nothing is fetched, nothing checked.
set -euo pipefail

no() { echo "$1; needed: Swift 6.0 or newer on PATH, or root on Debian with the right to mount (for a tree with Swift)"; exit 1; }

if [ -z "${SWIFT_ROOT:-}" ] && command -v swift >/dev/null; then exit 0; fi
[ "$(id -u)" = 0 ] || no 'no swift on PATH, and not root'
command -v apt-get >/dev/null || no 'no swift on PATH, and no apt-get'
where=$(mktemp -d)
trap 'rmdir "$where"' EXIT
said=$(unshare --mount --propagation private mount -t proc proc "$where" 2>&1) \
  || no "no swift on PATH, and cannot mount /proc (${said##*$'\n'})"
