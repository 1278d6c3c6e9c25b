"""A real name server, Debian's named: zones that a test can change, and a resolver for nothing but them."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.servers.process import HOST, PartMissing, Program, free_port, remove_folder, temporary_folder
from tests.waiting import wait_until

NAMED = Path("/usr/sbin/named")

CONFIGURATION = """
options {{
    directory "{folder}";
    listen-on port {port} {{ {host}; }};
    listen-on-v6 {{ none; }};
    pid-file "{folder}/named.pid";
    session-keyfile "{folder}/session.key";
    lock-file none;
    recursion yes;
    allow-query {{ any; }};
    allow-new-zones yes;
    dnssec-validation no;
    empty-zones-enable no;
    minimal-responses yes;
    notify no;
    max-udp-size 1232;
}};
controls {{ inet {host} port {control} allow {{ {host}; }} keys {{ "rndc-key"; }}; }};
key "rndc-key" {{ algorithm hmac-sha256; secret "bm90IGEgc2VjcmV0IG9mIGFueWJvZHk="; }};
zone "." {{ type primary; file "root.zone"; check-names ignore; }};
"""
HEAD = """$TTL 60
@ IN SOA ns.invalid. admin.invalid. {serial} 60 60 60 60
@ IN NS ns.invalid.
ns.invalid. IN A 127.0.0.1
"""


class NameServer:
    """named with one zone, the root, that is made of lines: each name that is in none of them does not exist."""

    def __init__(self) -> None:
        if not NAMED.exists():
            raise PartMissing("needs named (apt-get install bind9)")
        self.folder = temporary_folder("named")
        self.port, self.control = free_port(), free_port()
        self.serial = 0
        self.zones: dict[str, str] = {}
        self._write()
        values = {"folder": self.folder, "host": HOST, "port": self.port, "control": self.control}
        (self.folder / "named.conf").write_text(CONFIGURATION.format(**values))
        self.program = Program.start(
            "named", [NAMED, "-g", "-n", "1", "-c", self.folder / "named.conf"], self.folder / "output"
        )
        self.program.wait_for_port(self.port)
        self.program.wait_for_port(self.control)

    @property
    def address(self) -> str:
        """What ``COQUI_DNS_RESOLVER`` is set to."""
        return f"{HOST}:{self.port}"

    def load(self, zones: dict[str, str]) -> None:
        """Serve these zones, the text of each by its name, in the place of the present ones."""
        self.zones = dict(zones)
        self._reload()

    def replace(self, name: str, kind: str, values: Iterable[str]) -> None:
        """Do what a person does with a record to paste: all records of a name and kind make room for the new ones.

        TXT values are in quotes, as zone files want them.
        """
        name = name.removesuffix(".") + "."
        kept = [line for zone in self.zones.values() for line in zone.splitlines() if not _is(line, name, kind)]
        self.zones = {"all": "\n".join([*kept, *(f"{name} IN {kind} {value}" for value in values)])}
        self._reload()

    def _write(self) -> None:
        self.serial += 1
        text = HEAD.format(serial=self.serial) + "\n".join(self.zones.values()) + "\n"
        (self.folder / "root.zone").write_text(text)

    def _reload(self) -> None:
        self._write()
        for command in ("reload", "flush"):
            self._control(command)
        wait_until(lambda: f"serial: {self.serial}\n" in self._control("zonestatus", ".") or self._refused())
        assert not self._refused(), self.program.output()[-2000:]

    def _refused(self) -> bool:
        """Say whether it could not read what was written last."""
        return (
            "not loaded due to errors"
            in self.program.output().rpartition("received control channel command 'reload'")[2]
        )

    def _control(self, *words: str) -> str:
        command = ["/usr/sbin/rndc", "-c", str(self._key()), "-s", HOST, "-p", str(self.control), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{self.program.output()[-2000:]}"
        return done.stdout

    def _key(self) -> Path:
        file = self.folder / "rndc.conf"
        if not file.exists():
            file.write_text('key "rndc-key" { algorithm hmac-sha256; secret "bm90IGEgc2VjcmV0IG9mIGFueWJvZHk="; };\n'
                            'options { default-key "rndc-key"; };\n')  # fmt: skip
        return file

    def stop(self) -> None:
        """End it and take its folder away."""
        self.program.kill()
        remove_folder(self.folder)


def _is(line: str, name: str, kind: str) -> bool:
    """Say whether a line of a zone (name IN kind value) is a record of a name and kind."""
    words = line.split()
    return len(words) > 3 and words[0].lower() == name.lower() and words[2] == kind
