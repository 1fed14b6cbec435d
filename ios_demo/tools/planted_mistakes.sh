#!/usr/bin/env bash
# The type check's own test, run by in_swift.sh after a build: the app as it is passes, and with each planted mistake
# it does not.
set -euo pipefail
cd "$(dirname "$0")/.."
modules=$(swift build --show-bin-path)/Modules
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

check() {
  swiftc -typecheck -swift-version 6 -warnings-as-errors -parse-as-library -module-name EdgeMTPApp -I "$modules" \
    -Xcc -fmodule-map-file="$PWD/.build/debug/CLiteRT.build/module.modulemap" \
    -Xcc -fmodule-map-file="$PWD/.build/debug/CPhone.build/module.modulemap" "$1"/*.swift
}

cp -r App "$scratch/whole"
check "$scratch/whole" || { echo "ios: the app does not type-check by itself"; exit 1; }
caught=0
while read -r file change; do
  case $file in '' | '#'*) continue ;; esac
  rm -rf "$scratch/spoilt"
  cp -r App "$scratch/spoilt"
  sed -i "$change" "$scratch/spoilt/$file"
  cmp -s "App/$file" "$scratch/spoilt/$file" && { echo "ios: nothing to spoil in $file: $change"; exit 1; }
  check "$scratch/spoilt" >"$scratch/said" 2>&1 && { echo "ios: not caught in $file: $change"; exit 1; }
  grep -q 'error:' "$scratch/said" || { cat "$scratch/said"; exit 1; }
  caught=$((caught + 1))
done < tools/mistakes.txt
echo "ios: the app type-checks; $caught of $caught planted mistakes are caught"
