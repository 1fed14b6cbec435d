#!/usr/bin/env bash
# Run a command in ios_demo with Swift at hand: `in_swift.sh swift build`. Uses the machine's swift, or the Debian tree.
# The command sees the LiteRT-LM library's folder as $LITERT_LM_DIR and the repository as $REPOSITORY, in both cases.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$tools/../.." && pwd)
: "${LITERT_LM_DIR:?needed: the folder that holds liblitert-lm.so (the litert_lm package of the environment)}"
root=$("$tools/swift_tree.sh")

if [ "$root" = path ]; then
  cd "$repository/ios_demo"
  REPOSITORY=$repository LITERT_LM_DIR=$LITERT_LM_DIR exec "$@"
fi
if [ "$(id -u)" != 0 ]; then
  echo "ios: the Swift tree in $root is entered as root, and this is not; needed: root, or swift on PATH" >&2
  exit 1
fi
# Without /proc the Swift runtime does not find its libraries; without /sys LiteRT-LM aborts while it counts CPUs.
exec unshare --mount --propagation private bash -c '
  root=$1 repository=$2 runtime=$3; shift 3
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
  mount --bind "$repository" "$root/src"
  mount --bind "$runtime" "$root/runtime"
  exec chroot "$root" /usr/bin/env --ignore-environment PATH=/usr/bin:/bin HOME=/root LANG=C.UTF-8 TMPDIR=/tmp \
    REPOSITORY=/src LITERT_LM_DIR=/runtime EDGE_MTP_BUNDLE="${EDGE_MTP_BUNDLE:-}" \
    bash -c "cd /src/ios_demo && exec \"\$@\"" sh "$@"
' sh "$root" "$repository" "$LITERT_LM_DIR" "$@"
