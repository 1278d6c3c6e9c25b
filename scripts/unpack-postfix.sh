#!/bin/sh
# Unpack Postfix from Debian's package under .cache/postfix. It is never installed: the tests run an instance of their
# own, and the machine's mail server, if it has one, stays what it is.
set -eu
cd "$(dirname "$0")/.."
tree=.cache/postfix
[ -e "$tree/complete" ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "unpack-postfix: needs apt-get to download Debian's package" >&2
    exit 1
fi
rm -rf "$tree" "$tree.deb"
mkdir -p "$tree" "$tree.deb"
cd "$tree.deb"
if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
    apt-get update -qq >/dev/null || { echo "unpack-postfix: run this once: sudo apt-get update" >&2; exit 1; }
fi
apt-get download -qq postfix 2>/dev/null || { apt-get update -qq >/dev/null && apt-get download -qq postfix 2>/dev/null; }
# The libraries that it needs and this machine does not have.
for library in $(dpkg-deb -f postfix_*.deb Depends | tr ',' '\n' | sed -n 's/^ *\(lib[^ ]*\).*/\1/p'); do
    dpkg-query -W -f='${db:Status-Status}' "$library" 2>/dev/null | grep -qx installed ||
        apt-get download -qq "$library" 2>/dev/null
done
for package in *.deb; do dpkg-deb -x "$package" ../postfix; done
cd ../..
rm -rf "$tree.deb"

libraries=$(find "$tree/usr" -name 'lib*.so.*' -exec dirname {} + | sort -u | tr '\n' ':')
if LD_LIBRARY_PATH="$tree/usr/lib/postfix:$libraries" ldd "$tree/usr/lib/postfix/sbin/smtpd" | grep 'not found' >&2; then
    echo "unpack-postfix: Postfix lacks these libraries" >&2
    exit 1
fi
touch "$tree/complete"
