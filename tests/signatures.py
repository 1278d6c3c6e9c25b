"""Keys that sign, their DNS records, and two verifiers that know nothing of us: dkimpy, and Debian's opendkim."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dkim

from mail.message.dkim import Algorithm, SigningKey
from mail.settings.signing import new_key, signer
from mail.transport.smtp_envelope import on_the_wire
from tests.servers.process import HOST, PartMissing, Program, free_port, remove_folder, temporary_folder

OPENDKIM = Path("/usr/sbin/opendkim")


@dataclass(frozen=True)
class KnownKey:
    """A key as the signer has it, and the record that everybody sees."""

    signing: SigningKey
    private: str
    public: str

    @property
    def records(self) -> dict[str, str]:
        return {str(self.signing): f"v=DKIM1; k={self.signing.algorithm}; p={self.public}"}


def known_key(algorithm: Algorithm, domain: str = "office.test", selector: str = "") -> KnownKey:
    private, public = new_key(algorithm)
    return KnownKey(
        SigningKey(domain, selector or algorithm, algorithm, signer(algorithm, private), private), private, public
    )


def as_received(mail: bytes) -> bytes:
    """Return a mail as it leaves the receiver's SMTP: what goes over the wire, with the dots unstuffed again."""
    content, ending = on_the_wire(mail)
    received = (content + ending).removesuffix(b".\r\n")
    return re.sub(rb"(?m)^\.", b"", received)


def signatures_of(mail: bytes) -> int:
    return mail.lower().partition(b"\r\n\r\n")[0].count(b"dkim-signature:")


def verified(mail: bytes, records: Mapping[str, str]) -> list[bool]:
    """Return what dkimpy says of each signature of a received mail, the topmost first."""

    def look_up(name: bytes, timeout: int = 0) -> bytes | None:
        record = records.get(name.decode().removesuffix("."))
        return record.encode() if record else None

    def one(number: int) -> bool:
        try:
            return bool(dkim.DKIM(mail).verify(number, look_up))
        except dkim.DKIMException:
            return False

    return [one(number) for number in range(signatures_of(mail))]


class OpenDkim:
    """Debian's verifier as receivers run it, before a mail server; the records are in a file in place of DNS."""

    def __init__(self, folder: Path, records: Mapping[str, str]) -> None:
        if not OPENDKIM.exists():
            raise PartMissing("opendkim is missing; on Debian: apt-get install opendkim")
        keys, config, self.port = folder / "keys", folder / "opendkim.conf", free_port()
        keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
        lines = f"Mode v\nTestPublicKeys {keys}\nUserID root\nAlwaysAddARHeader yes\nSocket inet:{self.port}@{HOST}\n"
        config.write_text(lines)
        words = [OPENDKIM, "-x", config, "-f", "-A", "-P", folder / "pid"]
        self.program = Program.start("opendkim", words, folder / "output")
        self.program.wait_for_port(self.port)

    @property
    def settings(self) -> str:
        """Return the lines of main.cf that make a server ask it; without it no email is taken."""
        return f"smtpd_milters = inet:{HOST}:{self.port}\nmilter_default_action = tempfail\n"

    def results(self, mail: bytes) -> list[str]:
        """Return what it wrote into an email about each signature: "pass" for one that verifies."""
        header = mail.partition(b"\r\n\r\n")[0].decode("latin-1")
        written = re.findall(r"(?m)^Authentication-Results:((?:[^\r\n]*\r\n[ \t])*[^\r\n]*)", header)
        return re.findall(r"dkim=(\w+)", "".join(written))


@contextmanager
def opendkim(records: Mapping[str, str]) -> Iterator[OpenDkim]:
    folder = temporary_folder("opendkim")
    try:
        milter = OpenDkim(folder, records)
        yield milter
        milter.program.kill()
    finally:
        remove_folder(folder)
