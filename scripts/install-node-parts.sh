#!/bin/sh
# Install what tests/servers/node/package-lock.json pins below .cache/node, by the Node of requirements-dev.txt.
set -eu
cd "$(dirname "$0")/.."
parts=.cache/node
wanted=$(cat tests/servers/node/package.json tests/servers/node/package-lock.json | sha256sum)
if [ -f "$parts/installed" ] && [ "$(cat "$parts/installed")" = "$wanted" ]; then
    exit 0
fi
echo "bootstrap: installing tests/servers/node/package-lock.json" >&2
rm -rf "$parts"
mkdir -p "$parts"
cp tests/servers/node/package.json tests/servers/node/package-lock.json "$parts"
PATH="$PWD/.venv/bin:$PATH"
(cd "$parts" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null)
echo "$wanted" >"$parts/installed"
