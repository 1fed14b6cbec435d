#!/usr/bin/env bash
# The part of check.sh that needs Swift, run by in_swift.sh in ios_demo: inside.sh BUNDLE_NAME RUNTIME_VERSION.
set -euo pipefail
out=$REPOSITORY/build/ios
export EDGE_MTP_BUNDLE=$out/$1
# Observation does not link on Linux with Swift 6.0 unless the linker lets unresolved names of shared libraries pass.
flags=(--enable-code-coverage -Xlinker --allow-shlib-undefined -Xlinker "-L$LITERT_LM_DIR"
  -Xlinker "-rpath=$LITERT_LM_DIR")

quietly() { # COMMAND…: shows its output only when it fails, and then the lines that say why
  if ! "$@" >"$out/output.txt" 2>&1; then
    grep -E 'error:|✘|Fatal|ios:' "$out/output.txt" | cut -c1-400 | head -n 60 || tail -n 40 "$out/output.txt"
    return 1
  fi
}

echo 'ios: swift format lint --strict'
swift format lint --strict --recursive --configuration .swift-format Package.swift Sources Tests App LinuxCheck
echo 'ios: build, warnings are errors'
quietly swift build --build-tests "${flags[@]}"
echo 'ios: tests of the kit, and of the adapter against the real library'
quietly swift test "${flags[@]}" --xunit-output "$out/tests.xml"
cp "$(swift test "${flags[@]}" --show-codecov-path)" "$out/coverage.json"
echo 'ios: the plan on the tiny bundle'
export LLVM_PROFILE_FILE=$out/run.profraw
quietly "$(swift build --show-bin-path)/LinuxRun" "$EDGE_MTP_BUNDLE" "$out/plan.json" "$out/logs" "$2"
tools/planted_mistakes.sh
