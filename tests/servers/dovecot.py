"""A real Dovecot: IMAP and POP3, plain and TLS, on ports of its own with mailboxes in a temporary folder."""

import grp
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from tests.servers.certificates import Authority
from tests.servers.process import (
    HOST,
    IS_ROOT,
    MAIL_USER,
    PartMissing,
    Program,
    answers,
    free_port,
    remove_folder,
    temporary_folder,
)
from tests.waiting import wait_until

DOVECOT = Path("/usr/sbin/dovecot")
PARTS = {Path("/usr/lib/dovecot/imap"): "dovecot-imapd", Path("/usr/lib/dovecot/pop3"): "dovecot-pop3d"}

CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap pop3
listen = {host}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:~/Maildir
mail_max_userip_connections = 1000
mail_plugins = acl
first_valid_uid = 1
first_valid_gid = 1
pop3_uidl_format = %08Xu%08Xv
plugin {{
  acl = vfile
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users/%u
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = {pop3s_port}
    ssl = yes
  }}
}}
service auth {{
  inet_listener postfix {{
    port = {sasl_port}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""

# Without root every process runs as the person who tests.
WITHOUT_ROOT = """
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
"""


# What a token is worth, and whose it is, the authorization server says.
WITH_TOKENS = """
auth_mechanisms = plain login xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/tokens.conf
}}
"""
TOKENS = """
introspection_mode = post
introspection_url = {url}
username_attribute = username
active_attribute = active
active_value = true
tls_ca_cert_file = {authority}
"""


@dataclass(frozen=True)
class StoredMail:
    """A mail in a mailbox: its bytes and its Maildir flags (``S`` seen, ``T`` deleted)."""

    raw: bytes
    flags: str

    @property
    def seen(self) -> bool:
        return "S" in self.flags


class Dovecot:
    """One server; ``port("imap", "tls")`` is where it listens. Every user's password is ``password``.

    With an ``introspection`` address it takes access tokens of that authorization server as well. ``settings`` are
    further lines of its configuration.
    """

    password = "a secret of the tests"

    def __init__(
        self, authority: Authority, name: str = "mail.office.test", introspection: str = "", settings: str = ""
    ) -> None:
        if not DOVECOT.exists():
            raise PartMissing("Dovecot is not installed (dovecot-imapd, dovecot-pop3d)")
        for part, package in PARTS.items():
            if not part.exists():
                raise PartMissing(f"Dovecot is not complete ({package})")
        self.name = name
        self.folder = temporary_folder("dovecot")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s", "sasl")}
        self._serial = count(1)
        key, certificate = authority.issue(name, self.folder)
        values = {f"{name}_port": port for name, port in self.ports.items()} | {
            "folder": self.folder,
            "host": HOST,
            "key": key,
            "certificate": certificate,
            "uid": MAIL_USER.pw_uid,
            "gid": MAIL_USER.pw_gid,
        }
        text = CONFIGURATION.format(**values)
        if not IS_ROOT:
            text += WITHOUT_ROOT.format(user=MAIL_USER.pw_name, group=grp.getgrgid(os.getegid()).gr_name)
        if introspection:
            text += WITH_TOKENS.format(folder=self.folder)
            about = TOKENS.format(url=introspection, authority=authority.file)
            (self.folder / "tokens.conf").write_text(about)
        (self.folder / "dovecot.conf").write_text(text + settings)
        (self.folder / "mail").mkdir()
        self._own(self.folder / "mail")
        (self.folder / "users").mkdir()
        self.start()

    def port(self, kind: str, encryption: str = "none") -> int:
        """Return the port of ``imap`` or ``pop3``; ``tls`` has one of its own, ``starttls`` shares that of ``none``."""
        return self.ports[kind + ("s" if encryption == "tls" else "")]

    # --- mailboxes

    def add_mailbox(self, user: str, password: str | None = None) -> str:
        """Make an empty mailbox and return the user's name; one that is there already keeps its mails."""
        self.set_password(user, password or self.password)
        for part in ("new", "cur", "tmp"):
            (self.maildir(user) / part).mkdir(parents=True, exist_ok=True)
        self._own_tree(self.folder / "mail" / user)
        return user

    def set_password(self, user: str, password: str) -> None:
        """Change the password that the server asks for."""
        fresh = self.folder / "users" / f".{user}"
        fresh.write_text(f"{user}:{password}\n")
        stamp = 1_700_000_000 + next(self._serial)  # Dovecot reads a file again when its time, in seconds, is another
        os.utime(fresh, (stamp, stamp))
        fresh.chmod(0o644)
        fresh.rename(self.folder / "users" / user)

    def maildir(self, user: str, folder: str = "INBOX") -> Path:
        """Return the Maildir of a folder."""
        root = self.folder / "mail" / user / "Maildir"
        return root if folder == "INBOX" else root / f".{folder}"

    def add_folder(self, user: str, folder: str, uidvalidity: int) -> None:
        """Make a folder whose numbers are those of another one, as after a restore from a backup."""
        maildir = self.maildir(user, folder)
        for part in ("new", "cur", "tmp"):
            (maildir / part).mkdir(parents=True)
        (maildir / "maildirfolder").touch()
        (maildir / "dovecot-uidlist").write_text(f"3 V{uidvalidity} N1 G{next(self._serial):032x}\n")
        self._own_tree(maildir)

    def allow(self, user: str, rights: str, folder: str = "INBOX") -> None:
        """Let the owner of a folder do no more with it than these rights say (RFC 4314)."""
        file = self.maildir(user, folder) / "dovecot-acl"
        file.write_text(f"owner {rights}\n")
        self._own(file)

    def append(
        self, user: str, raw: bytes, *, seen: bool = False, arrived: datetime | None = None, folder: str = "INBOX"
    ) -> None:
        """Put a mail into a mailbox as a delivery would; ``seen`` as if a person had read it meanwhile."""
        serial = next(self._serial)
        stamp = int(arrived.timestamp()) if arrived else 1_700_000_000 + serial
        name = f"{stamp}.M{serial:08d}P{os.getpid()}.test"
        temporary = self.maildir(user, folder) / "tmp" / name
        temporary.write_bytes(raw.replace(b"\r\n", b"\n"))
        os.utime(temporary, (stamp, stamp))
        self._own(temporary)
        temporary.rename(self.maildir(user, folder) / (f"cur/{name}:2,S" if seen else f"new/{name}"))

    def mails(self, user: str, folder: str = "INBOX") -> list[StoredMail]:
        """Return what lies in a folder, in the order of delivery."""
        found = []
        for part in ("new", "cur"):
            for file in (self.maildir(user, folder) / part).glob("*"):
                found.append((file.name, StoredMail(file.read_bytes(), file.name.partition(":2,")[2])))
        return [mail for _, mail in sorted(found, key=lambda pair: pair[0])]

    def change_uidvalidity(self, user: str) -> None:
        """Forget the numbers of all mails, as a server that was restored from a backup does."""
        for file in self.maildir(user).glob("dovecot*"):
            if "uidvalidity" not in file.name or file.name == "dovecot-uidvalidity":
                file.unlink()

    def count_anew(self, user: str, uidvalidity: int) -> None:
        """Give the mails numbers from one on without a new UIDVALIDITY, as a server that was badly restored does."""
        for file in self.maildir(user).glob("dovecot*"):
            file.unlink()
        numbers = self.maildir(user) / "dovecot-uidlist"
        numbers.write_text(f"3 V{uidvalidity} N1 G{next(self._serial):032x}\n")
        self._own(numbers)

    def remove_mailbox(self, user: str) -> None:
        """Remove a mailbox with all that is in it."""
        (self.folder / "users" / user).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "mail" / user, ignore_errors=True)

    # --- its life

    def start(self) -> None:
        """Start it; returns when all four ports accept connections."""
        command = [DOVECOT, "-F", "-c", self.folder / "dovecot.conf"]
        self.program = Program.start("dovecot", command, self.folder / "output")
        for port in self.ports.values():
            self.program.wait_for_port(port)

    def kill(self) -> None:
        """Cut every connection at once; ``start`` brings it back with all mails."""
        self.program.kill()
        wait_until(lambda: not any(answers(port) for port in self.ports.values()))

    def close(self) -> None:
        """End it and remove the mailboxes."""
        self.program.kill()
        remove_folder(self.folder)

    def log(self) -> str:
        """Return Dovecot's own log."""
        log = self.folder / "dovecot.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _own(self, path: Path) -> None:
        if IS_ROOT:
            os.chown(path, MAIL_USER.pw_uid, MAIL_USER.pw_gid)

    def _own_tree(self, folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            self._own(path)
