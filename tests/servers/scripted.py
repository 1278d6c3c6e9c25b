"""IMAP and POP3 servers that answer as they should, but for a fault that no real server can be made to have."""

import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

Fault = Callable[[str], bytes | None]  # takes a command, gives the answer in place of the right one; %t is the tag

# How servers say "not now": codes of RFC 5530, codes of their own, words alone, and nothing at all.
NOT_NOW = [
    "NO [UNAVAILABLE] Backend is down", "NO [INUSE] Mailbox is locked", "NO [LIMIT] Too many requests",
    "NO [SERVERBUG] Internal error", "NO [OVERQUOTA] Bandwidth exceeded", "NO [EXPUNGEISSUED] Look again",
    "NO [TEMPFAIL] x", "NO [THROTTLED] x", "NO [limit] x", "NO Request is throttled. Suggested Backoff Time: 9000 ms",
    "NO Server Unavailable. 15", "NO Too many simultaneous connections", "NO Temporary failure", "NO Please try again",
    "NO Rate limit hit", "BAD Request is throttled", "NO cannot", "BAD no such thing", "NO",
]  # fmt: skip
LOST = b"* BYE [UNAVAILABLE] going down\r\n"


def none(_command: str) -> None:
    """Stage no fault."""


def refuse(step: str, reply: str, times: int = 1_000_000) -> Fault:
    """Answer commands that match ``step`` with a refusal, the first so many times."""
    left = [times]

    def fault(command: str) -> bytes | None:
        if left[0] and re.search(step, command):
            left[0] -= 1
            return b"%t " + reply.encode() + b"\r\n" if not reply.startswith("-") else reply.encode() + b"\r\n"
        return None

    return fault


@dataclass
class ScriptedImap:
    """A mailbox by IMAP; ``hidden`` mails are listed, and left out of every answer with bodies.

    ``skipped`` ones are found by a search, and left out of every answer about more than one mail.

    It remembers which mails were marked as read (``seen``) or deleted, and which were ``copied`` to another folder,
    whichever its name: that folder, ``done``, can be opened and looked into.
    """

    mails: dict[int, bytes]
    fault: Fault = none
    hidden: set[int] = field(default_factory=set)
    skipped: set[int] = field(default_factory=set)
    folders: tuple[str, ...] = ("INBOX",)
    offers: str = "IMAP4rev1 UIDPLUS MOVE"
    heard: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    copied: list[int] = field(default_factory=list)
    done: dict[int, bytes] = field(default_factory=dict)
    target: str = ""
    uidnext: int = 1
    idling: bytes = b"+ idling\r\n"  # what it says to IDLE
    connections: list[socket.socket] = field(default_factory=list)  # that are open

    def talk(self, connection: socket.socket) -> None:
        """Speak with one client."""
        self.connections.append(connection)
        try:
            self._converse(connection)
        finally:
            self.connections.remove(connection)

    def _converse(self, connection: socket.socket) -> None:
        connection.sendall(b"* OK hello\r\n")
        opened, idle = self.mails, ""
        for line in connection.makefile("rb"):
            tag, _, command = line.decode().strip().partition(" ")
            if tag == "DONE":
                tag, command = idle, "DONE"
            elif command == "IDLE":
                idle = tag
            self.heard.append(command)
            answer = self.fault(command)
            if command.startswith(("SELECT", "EXAMINE")):
                opened = self._named(command) if answer is None or b"%t OK" in answer else {}
            answer = self.answer(command, opened) if answer is None else answer
            connection.sendall(answer.replace(b"%t", tag.encode()))
            if answer.startswith(b"* BYE"):
                connection.shutdown(socket.SHUT_RDWR)
                return

    def answer(self, command: str, opened: dict[int, bytes]) -> bytes:
        """Do what a command says with the mails of the folder that is open, and answer as one should."""
        done = b"%t OK done\r\n"
        if command == "IDLE":
            return self.idling
        if command == "CAPABILITY":
            return f"* CAPABILITY {self.offers}\r\n".encode() + done
        if command.startswith(("SELECT", "EXAMINE")):
            if opened is self.done:
                return self._opened(self.done, 8, len(self.done) + 1) + done
            self.uidnext = max(self.uidnext, max(list(self.mails), default=0) + 1)
            return self._opened(self.mails, 7, self.uidnext) + done
        if command.startswith("LIST"):
            return "".join(f'* LIST () "/" "{name}"\r\n' for name in self.folders).encode() + done
        if command.startswith("UID FETCH"):
            named = command.split()[2]
            chosen = [uid for uid in self._chosen(named, opened) if named.isdigit() or uid not in self.skipped]
            return b"".join(self._fetched(uid, opened[uid], command) for uid in chosen) + done
        if command.startswith("UID SEARCH UID"):
            return f"* SEARCH {' '.join(map(str, self._chosen(command.split()[3], opened)))}\r\n".encode() + done
        if command == "UID SEARCH DELETED" and opened is self.done:
            return b"* SEARCH\r\n" + done
        if command.startswith("UID"):
            return self._changed(*command.split(maxsplit=3)[1:]) + done
        if command == "EXPUNGE":
            self._remove(self.deleted)
        if command == "LOGOUT":
            return b"* BYE\r\n" + done
        return done

    def _named(self, command: str) -> dict[int, bytes]:
        return self.done if self.target and self.target in command else self.mails

    def _opened(self, mails: dict[int, bytes], uidvalidity: int, uidnext: int) -> bytes:
        numbers = f"* OK [UIDVALIDITY {uidvalidity}] ok\r\n* OK [UIDNEXT {uidnext}] ok\r\n"
        return f"* {len(mails)} EXISTS\r\n{numbers}".encode()

    def _changed(self, name: str, numbers: str, rest: str = "") -> bytes:
        """Do what is to be done with some mails; of searches ``UID SEARCH DELETED`` is answered here."""
        if name == "SEARCH":
            return f"* SEARCH {' '.join(map(str, sorted(self.deleted)))}\r\n".encode()
        chosen = self._chosen(numbers, self.mails)
        if name == "STORE":
            (self.deleted if "Deleted" in rest else self.seen).update(chosen)
        if name in ("COPY", "MOVE"):
            self.copied += chosen
            self.target = rest.strip('"')
            self.done |= {len(self.done) + place: self.mails[uid] for place, uid in enumerate(chosen, 1)}
        if name in ("EXPUNGE", "MOVE"):
            self._remove(self.deleted & set(chosen) if name == "EXPUNGE" else set(chosen))
        return b""

    def _remove(self, uids: set[int]) -> None:
        for uid in list(uids):
            self.mails.pop(uid, None)
            self.deleted.discard(uid)

    def _chosen(self, numbers: str, mails: dict[int, bytes]) -> list[int]:
        chosen: set[int] = set()
        there = list(mails)
        for part in numbers.split(","):
            first, _, last = part.partition(":")
            if "*" in part:
                chosen |= {max(there)} if there else set()
            if first != "*":
                end = sys.maxsize if last == "*" else int(last or first)
                chosen |= {uid for uid in there if int(first) <= uid <= end}
        return sorted(chosen)

    def _fetched(self, uid: int, raw: bytes, command: str) -> bytes:
        if "RFC822.SIZE" in command:
            arrived = '"22-Nov-2026 09:00:00 +0000"'
            return f"* {uid} FETCH (UID {uid} RFC822.SIZE {len(raw)} INTERNALDATE {arrived})\r\n".encode()
        if uid in self.hidden:
            return b""
        if "MESSAGE-ID" in command:
            raw = b"".join(re.findall(rb"(?im)^message-id:.*\r\n", raw)) + b"\r\n"
        return f"* {uid} FETCH (UID {uid} BODY[] {{{len(raw)}}}\r\n".encode() + raw + b")\r\n"


@dataclass
class ScriptedPop3:
    """A mailbox by POP3."""

    mails: dict[int, bytes]
    fault: Fault = none
    heard: list[str] = field(default_factory=list)

    def talk(self, connection: socket.socket) -> None:
        """Speak with one client."""
        connection.sendall(b"+OK hello\r\n")
        for line in connection.makefile("rb"):
            command = line.decode().strip()
            self.heard.append(command)
            answer = self.fault(command)
            connection.sendall(self._answer(command) if answer is None else answer)
            if command == "QUIT":
                return

    def _answer(self, command: str) -> bytes:
        name, _, rest = command.partition(" ")
        if name == "CAPA":
            return b"+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n"
        if name in ("UIDL", "LIST"):
            values = {n: f"id{n}" if name == "UIDL" else str(len(raw)) for n, raw in self.mails.items()}
            return b"+OK\r\n" + "".join(f"{n} {value}\r\n" for n, value in values.items()).encode() + b".\r\n"
        if name in ("RETR", "TOP"):
            raw = self.mails[int(rest.split()[0])]
            return b"+OK\r\n" + re.sub(rb"(\A|\r\n)\.", rb"\1..", raw) + b".\r\n"
        return b"+OK\r\n"
