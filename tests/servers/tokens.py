"""Mail servers that take access tokens as some provider does, for what Dovecot and Postfix can't be made to say."""

import base64
import socket
from dataclasses import dataclass, field

BAD = b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}'


class Tokens:
    """The tokens of an account, without a provider: each refusal brings the next one."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)
        self.refused: list[str] = []

    def current(self) -> str:
        return self.left[0]

    def instead_of(self, refused: str) -> str | None:
        self.refused.append(refused)
        self.left = self.left[1:] or self.left
        return self.left[0] if self.left[0] != refused else None


@dataclass
class TokenServer:
    """Lets in who has the ``good`` token; ``explains`` comes before ``refusal``, b"" for no explanation."""

    kind: str
    good: str = "fresh"
    offers: str = "XOAUTH2"
    explains: bytes = BAD
    refusal: bytes = b""
    heard: list[bytes] = field(default_factory=list)

    def talk(self, connection: socket.socket) -> None:
        """Speak with one client."""
        self.lines, self.connection = connection.makefile("rb"), connection
        getattr(self, f"_{self.kind}")()

    def _hear(self) -> bytes:
        line = self.lines.readline().strip()
        self.heard.append(line)
        return line

    def _say(self, line: bytes) -> None:
        self.connection.sendall(line + b"\r\n")

    def _is_good(self, words: bytes) -> bool:
        return f"Bearer {self.good}\1".encode() in base64.b64decode(words)

    def _smtp(self) -> None:
        self._say(b"220 mx.test ESMTP")
        while line := self._hear():
            if line.startswith(b"EHLO"):
                self._say(b"250-mx.test\r\n250 AUTH PLAIN " + self.offers.encode())
            elif line.startswith(b"AUTH"):
                words = line.split()[2] if len(line.split()) > 2 else self._ask(b"334 ")
                if self._is_good(words):
                    self._say(b"235 2.7.0 Accepted")
                    continue
                if self.explains:
                    self._ask(b"334 " + base64.b64encode(self.explains))
                self._say(self.refusal or b"535 5.7.8 Username and Password not accepted.")
            elif line == b"DATA":
                self._say(b"354 go on")
                while self.lines.readline() not in (b".\r\n", b""):
                    continue
                self._say(b"250 OK")
            else:
                self._say(b"250 OK")

    def _imap(self) -> None:
        self._say(b"* OK hello")
        while line := self._hear():
            tag, command = line.split(maxsplit=1)
            if command == b"CAPABILITY":
                offers = " ".join(f"AUTH={way}" for way in self.offers.split())
                self._say(f"* CAPABILITY IMAP4rev1 SASL-IR {offers}".encode())
            if command.startswith(b"AUTHENTICATE") and not self._is_good(self._ask(b"+ ")):
                if self.explains:
                    self._ask(b"+ " + base64.b64encode(self.explains))
                self._say(tag + b" NO " + (self.refusal or b"[AUTHENTICATIONFAILED] Invalid credentials (Failure)"))
                continue
            if command.startswith((b"SELECT", b"EXAMINE")):
                self._say(b"* 0 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 1] ok")
            self._say(tag + b" OK done")

    def _pop3(self) -> None:
        self._say(b"+OK hello")
        while line := self._hear():
            if line == b"CAPA":
                self._say(b"+OK\r\nUSER\r\nUIDL\r\nSASL PLAIN " + self.offers.encode() + b"\r\n.")
            elif line.startswith(b"AUTH") and not self._is_good(self._ask(b"+ ")):
                if self.explains:
                    self._ask(b"+ " + base64.b64encode(self.explains))
                self._say(b"-ERR " + (self.refusal or b"[AUTH] Username and password not accepted."))
            elif line in (b"UIDL", b"LIST"):
                self._say(b"+OK\r\n.")
            else:
                self._say(b"+OK")

    def _ask(self, line: bytes) -> bytes:
        self._say(line)
        return self._hear()
