#!/bin/sh
# Make this machine able to run or test CoquiMail, and do nothing where it already is.
# Usage: bootstrap.sh run | check | test | soak | bench | requirements
set -eu
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# program or file that must be there | Debian package that brings it
TEST_PARTS="
/usr/sbin/dovecot                   dovecot-core
/usr/lib/dovecot/imap               dovecot-imapd
/usr/lib/dovecot/pop3               dovecot-pop3d
/usr/lib/postgresql/*/bin/initdb    postgresql
/usr/bin/openssl                    openssl
/usr/sbin/named                     bind9
/usr/sbin/opendkim                  opendkim
/usr/bin/chromium-headless-shell     chromium-headless-shell
/usr/share/fonts/truetype           fonts-liberation
/usr/lib/*/libatomic.so.1           libatomic1
/usr/bin/systemd-analyze            systemd
"
# ... and for the proof that types the guide for servers into a bare Debian
SOAK_PARTS="
/usr/bin/mmdebstrap                 mmdebstrap
/usr/bin/git                        git
/usr/bin/unshare                    util-linux
/etc/ssl/certs/ca-certificates.crt  ca-certificates
"

# ... and what is measured beside us
BENCH_PARTS="
/usr/bin/fetchmail                  fetchmail
/usr/lib/dovecot/lmtp               dovecot-lmtpd
"

say() { echo "bootstrap: $*" >&2; }

be_root() { # the word to put before a command that needs root; fails where nobody can be root without a password
    if [ "$(id -u)" = 0 ]; then
        echo env
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo "sudo -n env DEBIAN_FRONTEND=noninteractive"
    else
        return 1
    fi
}

apt_lists() { # package lists, fetched once; a minimal Debian has none
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || $1 apt-get update -qq >/dev/null
}

install_packages() { # by apt, without starting any service; on failure the one line to run is printed
    line="apt-get install --no-install-recommends $*"
    if ! command -v apt-get >/dev/null; then
        say "needs these Debian packages, or what they are called here: $*"
        return 1
    fi
    if ! root=$(be_root); then
        say "run this once, then again: sudo $line"
        return 1
    fi
    say "installing $*"
    apt_lists "$root"
    # A service that is installed for the tests must not start listening: they run instances of their own. The file is
    # Debian's way to say so; one that is already there belongs to the machine and stays.
    policy=""
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
        $root chmod 755 "$policy"
        trap '$root rm -f "$policy"' EXIT INT TERM
    fi
    mkdir -p .cache
    done=0
    for try in 1 2; do
        # shellcheck disable=SC2086  # the words of $root and the packages are meant to be split
        if $root apt-get install -y -qq --no-install-recommends "$@" >.cache/apt.log 2>&1; then
            done=1
            break
        fi
        if [ "$try" = 1 ]; then
            $root apt-get update -qq >/dev/null # the lists may be old
        fi
    done
    if [ -n "$policy" ]; then
        $root rm -f "$policy"
        trap - EXIT INT TERM
    fi
    if [ "$done" = 0 ]; then
        tail -n 20 .cache/apt.log >&2
        say "could not install them; see .cache/apt.log"
        return 1
    fi
    # ... and must not start with the machine either.
    if [ -d /run/systemd/system ]; then
        for package; do
            case "$package" in
                dovecot-core) $root systemctl disable -q dovecot || say "dovecot stays enabled" ;;
                postgresql) $root systemctl disable -q postgresql || say "postgresql stays enabled" ;;
                bind9) $root systemctl disable -q named || say "named stays enabled" ;;
                opendkim) $root systemctl disable -q opendkim || say "opendkim stays enabled" ;;
            esac
        done
    fi
}

make_venv() {
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            say "CoquiMail needs Python 3.11 or newer; python3 is $(python3 --version)"
            exit 1
        }
        python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
        rm -rf .venv
        python3 -m venv .venv
    fi
}

install_requirements() { # NAME FILE...: what the files pin, by hash, only when one of them changed
    stamp=.venv/installed-$1
    shift
    wanted=$(cat "$@" | sha256sum)
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        say "installing $*"
        files=""
        for file; do files="$files -r $file"; done
        # Python compiles at the first use what is used: that is a fraction of all the files.
        # shellcheck disable=SC2086  # one word a file
        .venv/bin/python -m pip install -qq --no-compile --require-hashes $files
        echo "$wanted" >"$stamp"
    fi
}

install_test_parts() { # PARTS: servers and the browser; without them their tests are skipped, and on CI that is a failure
    missing=$(echo "$1" | while read -r part package; do
        [ -z "$part" ] && continue
        # shellcheck disable=SC2086  # the part may be a pattern
        ls -d $part >/dev/null 2>&1 || echo "$package"
    done)
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086  # one word a package
        install_packages $missing || not_there "tests that need them are skipped: $(echo $missing)"
    fi
    sh scripts/unpack-postfix.sh || not_there "tests that need Postfix are skipped"
    sh scripts/unpack-mail-programs.sh || not_there "tests that need Exim, procmail or maildrop are skipped"
}

not_there() {
    say "$1"
    [ "${CI:-}" != true ] || exit 1
}

case "${1:-}" in
    run)
        make_venv
        install_requirements runtime requirements.txt
        ;;
    check)
        make_venv
        install_requirements dev requirements.txt requirements-dev.txt
        ;;
    test | soak)
        make_venv
        install_requirements dev requirements.txt requirements-dev.txt & # both wait for the network most of the time
        parts=$TEST_PARTS
        [ "$1" = test ] || parts="$parts$SOAK_PARTS"
        install_test_parts "$parts"
        wait $!
        sh scripts/install-node-parts.sh || not_there "tests that need an authorization server are skipped"
        ;;
    bench)
        make_venv
        install_requirements bench requirements.txt requirements-dev.txt requirements-bench.txt
        install_test_parts "$TEST_PARTS$BENCH_PARTS"
        ;;
    requirements)
        make_venv
        [ -x .venv/bin/pip-compile ] || .venv/bin/python -m pip install --quiet pip-tools
        for name in requirements requirements-dev requirements-bench; do
            CUSTOM_COMPILE_COMMAND="make requirements" .venv/bin/pip-compile --quiet --generate-hashes --strip-extras \
                --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o $name.txt $name.in
        done
        ;;
    *)
        say "usage: bootstrap.sh run | check | test | soak | bench | requirements"
        exit 2
        ;;
esac
