#!/usr/bin/env bash
# Print the way to a Swift toolchain: "path" where swift is on PATH, else the root of a Debian tree that holds one.
# The tree is made once (about a minute, 560 MB to fetch, 1.5 GB on disk) and kept outside the repository.
# SWIFT_ROOT overrides where it is.
set -euo pipefail

root=${SWIFT_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/edge-mtp/swift}
suite=trixie
stamp="$suite swiftlang 2"
say() { echo "ios: $*" >&2; }

refuse() { say "$1"; say "needed: $2"; exit 1; }

make_tree() {
  [ "$(id -u)" = 0 ] || refuse "no swift on PATH, and making a tree takes root" "a Swift toolchain 6.0 or newer on PATH, or root"
  command -v apt-get >/dev/null || refuse "no swift on PATH, and this is not Debian or Ubuntu" "a Swift toolchain on PATH"
  command -v mmdebstrap >/dev/null || apt-get install -y -qq --no-install-recommends mmdebstrap >&2 \
    || { apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends mmdebstrap >&2; }
  local mirror started=$SECONDS
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep -v security | head -n1)
  say "making a Swift tree in $root from Debian $suite (about a minute, 560 MB to fetch)"
  rm -rf "$root.part"
  mkdir -p "$(dirname "$root")"
  mmdebstrap --quiet --mode=root --variant=minbase --components=main --aptopt='APT::Install-Recommends "false"' \
    --include=swiftlang,libc6-dev,libstdc++-14-dev,ca-certificates,git "$suite" "$root.part" "$mirror" >&2
  # The debugger, the language servers and the documentation compiler are half of the package and of no use here.
  find "$root.part/usr" \( -name 'lldb*' -o -name 'liblldb*' -o -name 'docc' -o -name 'sourcekit-lsp' -o -name 'clangd*' \) \
    -not -type d -delete
  rm -rf "$root.part"/usr/share/{doc,man,locale} "$root.part"/var/cache/apt
  mkdir -p "$root.part/src" "$root.part/runtime"
  echo "$stamp" > "$root.part/.edge-mtp-stamp"
  rm -rf "$root"
  mv "$root.part" "$root"
  say "made in $((SECONDS - started)) s"
}

if [ -z "${SWIFT_ROOT:-}" ] && command -v swift >/dev/null; then
  echo path
  exit 0
fi
[ "$(cat "$root/.edge-mtp-stamp" 2>/dev/null)" = "$stamp" ] || make_tree
echo "$root"
