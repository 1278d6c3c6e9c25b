#!/bin/sh
# Unpack Exim, procmail and maildrop from Debian's packages under .cache/mail-programs, for the tests of the recipes in
# docs/guide/receiving.md. Nothing is installed: the machine's mail server, if it has one, stays what it is.
set -eu
cd "$(dirname "$0")/.."
tree=.cache/mail-programs
[ -e "$tree/complete" ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "unpack-mail-programs: needs apt-get to download Debian's packages" >&2
    exit 1
fi
rm -rf "$tree" "$tree.deb"
mkdir -p "$tree" "$tree.deb"
cd "$tree.deb"
programs="exim4-daemon-light procmail maildrop courier-authlib libnss-wrapper"
ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get update -qq >/dev/null
# shellcheck disable=SC2086  # one word a package
apt-get download -qq $programs 2>/dev/null || { apt-get update -qq >/dev/null && apt-get download -qq $programs; }
# The libraries that they need and this machine does not have.
for package in *.deb; do dpkg-deb -f "$package" Depends; done | tr ',' '\n' | sed -n 's/^ *\(lib[^ ]*\).*/\1/p' | sort -u |
    while read -r library; do
        dpkg-query -W -f='${db:Status-Status}' "$library" 2>/dev/null | grep -qx installed ||
            apt-get download -qq "$library" 2>/dev/null || true
    done
for package in *.deb; do dpkg-deb -x "$package" ../mail-programs; done
cd ../..
rm -rf "$tree.deb"
find "$tree" -type f -perm /6000 -exec chmod ug-s {} + # they run as whoever runs the test, and find their libraries

libraries=$(find "$tree/lib" "$tree/usr" -name 'lib*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
for program in sbin/exim4 bin/procmail bin/maildrop; do
    if LD_LIBRARY_PATH=$libraries ldd "$tree/usr/$program" | grep 'not found' >&2; then
        echo "unpack-mail-programs: $program lacks these libraries" >&2
        exit 1
    fi
done
touch "$tree/complete"
