"""A real Postfix that receives, from a tree that is unpacked and never installed (scripts/unpack-postfix.sh).

It accepts every address of every domain and files the mail; single addresses can be refused, deferred, or accepted and
bounced later. Its master process has to be started by root.
"""

import email
import email.policy
import os
import re
import shutil
import socketserver
import subprocess
import threading
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from tests.servers.certificates import Authority
from tests.servers.process import (
    CACHE,
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

TREE = CACHE / "postfix"
DAEMONS = TREE / "usr/lib/postfix/sbin"
COMMANDS = TREE / "usr/sbin"
# Postfix wants three accounts that share nothing; these exist on every Debian and own no files of ours.
OWNER, GROUP, NOBODY = "uucp", "games", "nobody"

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {commands}
daemon_directory = {daemons}
shlib_directory = {tree}/usr/lib/postfix
meta_directory = {tree}/etc/postfix
mail_owner = {owner}
setgid_group = {group}
default_privs = {nobody}
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH={libraries}
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
myhostname = {name}
inet_protocols = ipv4
inet_interfaces = loopback-only
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_sender_restrictions = check_policy_service {{ inet:{host}:{policy_port}, policy_context=sender }}
smtpd_recipient_restrictions = check_policy_service inet:{host}:{policy_port}
smtpd_end_of_data_restrictions = check_policy_service inet:{host}:{policy_port}
smtpd_policy_service_default_action = 451 4.3.5 the test's policy service is away
smtpd_policy_service_timeout = 60
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 10000
smtpd_soft_error_limit = 10000
smtpd_client_connection_count_limit = 0
smtpd_delay_reject = yes
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {certificate}
in_flow_delay = 0
message_size_limit = 60000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = static:all
virtual_mailbox_base = /
virtual_mailbox_maps = hash:{folder}/mailboxes, static:{delivered}/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""

# "late" hands an accepted mail to a program that refuses it, with the text that the policy service named.
MASTER_CF = """
{host}:{port}        inet  n - n - -   smtpd
{host}:{tls_port}    inet  n - n - -   smtpd -o smtpd_tls_wrappermode=yes {tls_options}
postlog    unix-dgram n - n - 1   postlogd
cleanup    unix  n - n - 0     cleanup
qmgr       unix  n - n 300 1   qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - -     trivial-rewrite
bounce     unix  - - n - 0     bounce
defer      unix  - - n - 0     bounce
trace      unix  - - n - 0     bounce
verify     unix  - - n - 1     verify
proxymap   unix  - - n - -     proxymap
error      unix  - - n - -     error
retry      unix  - - n - -     error
late       unix  - n n - -     pipe flags=R user={nobody} argv={folder}/late ${{nexthop}}
discard    unix  - - n - -     discard
smtp       unix  - - n - -     smtp
lmtp       unix  - - n - -     lmtp
virtual    unix  - n n - -     virtual
anvil      unix  - - n - 1     anvil
scache     unix  - - n - 1     scache
"""

QUEUE = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "maildrop",
    "pid",
    "private",
    "public",
    "saved",
    "trace",
]


@dataclass
class Delivered:
    """A mail as Postfix filed it."""

    raw: bytes
    envelope_sender: str
    recipient: str
    message: EmailMessage

    @property
    def subject(self) -> str:
        return str(self.message["Subject"] or "")


class Postfix:
    """One receiving server; ``port`` offers STARTTLS, ``tls_port`` speaks TLS from the first byte.

    ``settings`` are further lines of main.cf, ``services`` of master.cf, ``tls_options`` further ``-o`` of the second
    port.
    """

    def __init__(
        self,
        authority: Authority,
        name: str = "mx.receiver.test",
        settings: str = "",
        tls_options: str = "",
        services: str = "",
    ) -> None:
        if not (TREE / "complete").exists():
            raise PartMissing("Postfix is not unpacked (sh scripts/unpack-postfix.sh)")
        if not IS_ROOT:
            raise PartMissing("Postfix's master process has to be started by root")
        self.name, self.port, self.tls_port = name, free_port(), free_port()
        self.folder = temporary_folder("postfix")
        self.delivered = self.folder / "delivered"
        self.policy = Policy()
        self._mailboxes: dict[str, str] = {}
        self._revision = 0
        self._read: dict[str, Delivered] = {}
        self._prepare(authority, settings, tls_options, services)
        self.start()

    # --- what it does with single addresses, from the next recipient on

    def refuse(self, address: str, reply: str = "550 5.1.1 No such user here") -> None:
        """Refuse an address in the dialogue; a reply of 4xx defers it."""
        self.policy.actions[address.lower()] = reply

    def defer(self, address: str, reply: str = "450 4.2.0 Greylisted, try again later") -> None:
        """Put an address off in the dialogue."""
        self.refuse(address, reply)

    def refuse_sender(self, address: str, reply: str = "553 5.7.1 not owned by user office") -> None:
        """Refuse an address as a sender. As Postfix is set up, it says so after the recipient."""
        self.policy.senders[address.lower()] = reply

    def refuse_senders_with_plus(self) -> None:
        """Refuse every sender with an addition behind a plus."""
        self.refuse_sender("+")

    def bounce(self, address: str, text: str = "5.1.1 The person has left the company") -> None:
        """Accept mails to an address and send a delivery report to their envelope sender afterwards."""
        self.policy.actions[address.lower()] = f"FILTER late:{text}"

    def bounce_unknown(self, domain: str, text: str = "5.1.1 No such user here") -> None:
        """Do the same with every address of a domain that has no mailbox of its own (``deliver_into``)."""
        self.bounce(f"@{domain}", text)

    def add_header(self, address: str, line: str) -> None:
        """Put a header line before the mails to an address, as a server does that checks their sender."""
        self.policy.actions[address.lower()] = f"PREPEND {line}"

    def accept(self, address: str) -> None:
        """Take back what ``refuse``, ``defer``, ``refuse_sender`` or ``bounce`` said."""
        self.policy.actions.pop(address.lower(), None)
        self.policy.senders.pop(address.lower(), None)

    def slow_down(self, seconds: float, at_the_end: float = 0.0) -> None:
        """Let every recipient wait for its answer, and every mail for the answer to its final dot; 0 ends it."""
        self.policy.delay, self.policy.delay_at_the_end = seconds, at_the_end

    def deliver_into(self, address: str, maildir: Path) -> None:
        """File the mails to an address in a Maildir of its own, for example one that Dovecot serves."""
        self._mailboxes[address] = str(maildir).lstrip("/") + "/"
        self.policy.actions.setdefault(address.lower(), "DUNNO")
        self._write_mailboxes()

    # --- what arrived

    def mails(self) -> list[Delivered]:
        """Return all mails filed so far, in the order of arrival."""
        new = self.delivered / "new"
        for name in sorted(os.listdir(new) if new.is_dir() else []):
            if name not in self._read:
                self._read[name] = _read((new / name).read_bytes())
        return list(self._read.values())

    def delivered_to(self, address: str) -> list[Delivered]:
        """Return the mails filed for one recipient, in the order of arrival."""
        return [mail for mail in self.mails() if mail.recipient.lower() == address.lower()]

    def wait_for(self, address: str, count: int = 1) -> list[Delivered]:
        """Return the mails of a recipient as soon as there are ``count``."""
        wait_until(lambda: len(self.delivered_to(address)) >= count)
        return self.delivered_to(address)

    def forget(self) -> None:
        """Drop what arrived so far and every special answer: a fresh server for the next test."""
        wait_until(self.idle)
        new = self.delivered / "new"
        for file in new.iterdir() if new.is_dir() else ():
            file.unlink()
        self._read.clear()
        self.policy.actions.clear()
        self.policy.senders.clear()
        self.slow_down(0)
        if self._mailboxes:
            self._mailboxes.clear()
            self._write_mailboxes()

    def idle(self) -> bool:
        """Return whether nothing waits in its queue."""
        waiting = ("maildrop", "incoming", "active", "deferred")
        return not any(path.is_file() for part in waiting for path in (self.folder / "queue" / part).rglob("*"))

    def log(self) -> str:
        """Return Postfix's own log."""
        log = self.folder / "postfix.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def run(self, command: str, *words: str) -> None:
        """Run one of its commands, for example ``postalias``."""
        subprocess.run([COMMANDS / command, *words], env=self.env, check=True)

    # --- its life

    def start(self) -> None:
        """Start it; returns when it accepts connections."""
        self.program = Program.start(
            "postfix", [DAEMONS / "master", "-c", self.folder, "-d"], self.folder / "output", self.env
        )
        self.program.wait_for_port(self.port)

    def stop(self) -> None:
        """End it; what it has filed and what waits in its queue stays."""
        self.program.kill()
        wait_until(lambda: not answers(self.port))

    def close(self) -> None:
        """End it and remove its files."""
        self.stop()
        self.policy.close()
        remove_folder(self.folder)

    @property
    def env(self) -> dict[str, str]:
        return {**program_environment(), "MAIL_CONFIG": str(self.folder)}

    def _prepare(self, authority: Authority, settings: str, tls_options: str, services: str) -> None:
        queue = self.folder / "queue"
        for folder in (queue, self.folder / "data", *(queue / part for part in QUEUE)):
            folder.mkdir()
        for part in QUEUE:
            if part != "pid":
                shutil.chown(queue / part, OWNER)
                (queue / part).chmod(0o700)
        shutil.chown(self.folder / "data", OWNER)
        shutil.chown(queue / "public", OWNER, GROUP)
        (queue / "public").chmod(0o710)
        shutil.chown(queue / "maildrop", OWNER, GROUP)
        (queue / "maildrop").chmod(0o730)
        self.delivered.mkdir()
        shutil.chown(self.delivered, MAIL_USER.pw_uid, MAIL_USER.pw_gid)
        key, certificate = authority.issue(self.name, self.folder)
        values = {
            "folder": self.folder,
            "tree": TREE,
            "commands": COMMANDS,
            "daemons": DAEMONS,
            "libraries": library_path(),
            "owner": OWNER,
            "group": GROUP,
            "nobody": NOBODY,
            "name": self.name,
            "delivered": str(self.delivered).lstrip("/"),
            "uid": MAIL_USER.pw_uid,
            "gid": MAIL_USER.pw_gid,
            "host": HOST,
            "port": self.port,
            "policy_port": self.policy.port,
            "tls_port": self.tls_port,
            "tls_options": tls_options,
            "key": key,
            "certificate": certificate,
        }
        (self.folder / "main.cf").write_text(MAIN_CF.format(**values) + settings)
        (self.folder / "master.cf").write_text(MASTER_CF.format(**values) + services)
        late = self.folder / "late"
        late.write_text('#!/bin/sh\ncat >/dev/null\necho "$1"\nexit 67\n')
        late.chmod(0o755)
        self._write_mailboxes()

    def _write_mailboxes(self) -> None:
        """Write the lookup table so that running processes see it: they compare the file's time, in whole seconds."""
        table = self.folder / "mailboxes"
        table.write_text("".join(f"{address} {path}\n" for address, path in self._mailboxes.items()))
        self.run("postmap", f"hash:{table}")
        self._revision += 1
        database = table.with_suffix(".db")
        stamp = int(database.stat().st_mtime) - 100_000 + self._revision
        os.utime(table, (stamp, stamp))
        os.utime(database, (stamp, stamp))


class Policy:
    """Answers Postfix's question what to do with a recipient (SMTPD_POLICY_README), so that a test may change it."""

    def __init__(self) -> None:
        self.actions: dict[str, str] = {}
        self.senders: dict[str, str] = {}
        self.delay = self.delay_at_the_end = 0.0
        policy = self

        class Conversation(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                question: dict[str, str] = {}
                for line in self.rfile:
                    name, equals, value = line.decode("utf-8", "replace").rstrip("\n").partition("=")
                    if equals:
                        question[name] = value
                        continue
                    if question.get("policy_context") == "sender":
                        sender = question.get("sender", "").lower()
                        with_plus = policy.senders.get("+", "DUNNO") if "+" in sender else "DUNNO"
                        action = policy.senders.get(sender, with_plus)
                        self.wfile.write(f"action={action}\n\n".encode())
                        question = {}
                        continue
                    complete = question.get("protocol_state") == "END-OF-MESSAGE"
                    if delay := policy.delay_at_the_end if complete else policy.delay:
                        threading.Event().wait(delay)
                    action = "DUNNO"
                    if not complete:
                        recipient = question.get("recipient", "").lower()
                        of_domain = policy.actions.get("@" + recipient.rpartition("@")[2], action)
                        action = policy.actions.get(recipient, of_domain)
                    self.wfile.write(f"action={action}\n\n".encode())
                    question = {}

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

        self._server = Server((HOST, 0), Conversation)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="postfix policy", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def library_path() -> str:
    """Return where the unpacked programs find their libraries."""
    unpacked = {str(library.parent) for library in TREE.glob("**/lib*.so*")}
    return ":".join(sorted(unpacked))


def program_environment() -> dict[str, str]:
    """Return the environment in which an unpacked program of Postfix runs (smtp-sink, smtp-source, postmap)."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": library_path()}


def _read(raw: bytes) -> Delivered:
    head = raw.split(b"\n\n", 1)[0].decode("utf-8", "replace")
    sender = re.search(r"^Return-Path: <(.*)>$", head, re.M)
    recipient = re.search(r"^Delivered-To: (.*)$", head, re.M)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return Delivered(raw, sender[1] if sender else "", recipient[1].strip() if recipient else "", message)
