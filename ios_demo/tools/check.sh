#!/usr/bin/env bash
# What `make ios` runs: check.sh PYTHON BUNDLE, from the repository's root. Everything it makes goes to build/ios.
set -euo pipefail
python=$1 bundle=$2
tools=$(cd "$(dirname "$0")" && pwd)
out=build/ios
reason=$("$tools/permitted.sh") || { echo "ios: $reason" >&2; exit 1; }
LITERT_LM_DIR=$("$python" -c 'import litert_lm, pathlib; print(pathlib.Path(litert_lm.__file__).parent)')
version=$("$python" -c 'import importlib.metadata as m; print(m.version("litert-lm-api"))')
export LITERT_LM_DIR

step() { # NAME COMMAND…: runs it and says how long it took
  local name=$1 started=$SECONDS
  shift
  "$@" || { echo "ios: $name failed"; exit 1; }
  echo "ios: $name, $((SECONDS - started)) s"
}

rm -rf "$out"
mkdir -p "$out"
cp "$bundle" "$bundle.json" "$out/"
"$python" -m edge_mtp.cli device plan --output "$out/plan.json" --prompts tests/ios/prompts.jsonl --per-suite 6 \
  --baseline-s 1 --max-tokens 48 --seed 7
step 'Swift toolchain' "$tools/swift_tree.sh" >/dev/null
step 'format, build, tests, run on the tiny bundle, planted mistakes' \
  "$tools/in_swift.sh" tools/inside.sh "$(basename "$bundle")" "$version"
step 'the log read by edge-mtp device, header, project.yml' env EDGE_MTP_IOS_OUT="$out" "$python" -m pytest tests/ios
"$python" -m tests.ios.results "$out"
