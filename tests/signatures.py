"""Keys that sign, their DNS records, and two verifiers that know nothing of us: dkimpy, and Debian's opendkim."""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dkim

from mail.message.dkim import Algorithm, SigningKey
from mail.settings.signing import new_key, signer
from mail.transport.smtp_envelope import on_the_wire
from tests.servers.process import PartMissing, remove_folder, temporary_folder

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
    """Debian's verifier, with the records in a file in place of DNS."""

    def __init__(self, folder: Path, records: Mapping[str, str]) -> None:
        if not OPENDKIM.exists():
            raise PartMissing("opendkim is missing; on Debian: apt-get install opendkim")
        self.folder = folder
        (folder / "keys").write_text("".join(f"{name} {record}\n" for name, record in records.items()))
        config = f"Mode v\nTestPublicKeys {folder}/keys\nBaseDirectory {folder}\nUserID root\nOn-Default accept\n"
        (folder / "opendkim.conf").write_text(config)

    def results(self, mails: Sequence[bytes]) -> list[list[str]]:
        """Return what it says of the signatures of each mail: "pass" for one that verifies."""
        for number, mail in enumerate(mails):
            (self.folder / f"{number}.eml").write_bytes(mail)
        names = ",".join(f"{number}.eml" for number in range(len(mails)))
        words = [str(OPENDKIM), "-x", str(self.folder / "opendkim.conf"), "-t", names, "-vvv"]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=60)
        said = re.split(r"(?m)^opendkim: \d+\.eml: (?:verification|message).*$", done.stdout)
        return [re.findall(r"dkim=(\w+)", one) for one in said[:-1]]


@contextmanager
def opendkim(records: Mapping[str, str]) -> Iterator[OpenDkim]:
    folder = temporary_folder("opendkim")
    try:
        yield OpenDkim(folder, records)
    finally:
        remove_folder(folder)
