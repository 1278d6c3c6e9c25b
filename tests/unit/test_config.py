"""What the environment says, and whom the data folder is open to."""

from pathlib import Path

import pytest

from mail.settings import config


def test_the_data_folder_is_taken_from_others_whoever_made_it(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data, data / "journal", elsewhere):
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    for file in (data / "coquimail.db", elsewhere / "file"):
        file.touch()
        file.chmod(0o644)
    (data / "link").symlink_to(elsewhere)
    config.read({"COQUI_DATA": str(data)})
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (data, *data.iterdir(), elsewhere / "file")}
    assert modes == {
        "data": "0o700",
        "journal": "0o700",
        "coquimail.db": "0o600",
        "secret.key": "0o600",
        "link": "0o755",
        "file": "0o644",
    }


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://localhost:8000"),
        ({"PORT": "8001"}, "http://localhost:8001"),
        ({"COQUI_BIND": "127.0.0.1"}, "http://localhost:8000"),
        ({"COQUI_BIND": "192.0.2.7"}, "http://192.0.2.7:8000"),
        ({"COQUI_BIND": "2001:db8::7"}, "http://[2001:db8::7]:8000"),
        ({"COQUI_BIND": "0.0.0.0", "COQUI_URL": "https://mail.home.test/"}, "https://mail.home.test"),
    ],
)
def test_the_first_link_leads_to_where_the_office_is_reached(
    tmp_path: Path, environment: dict[str, str], url: str
) -> None:
    assert config.read({"COQUI_DATA": str(tmp_path), **environment}).url == url


@pytest.mark.parametrize(
    ("given", "resolvers"),
    [
        ("", ()),
        ("192.0.2.53", (("192.0.2.53", 53),)),
        ("127.0.0.1:5353, [2001:db8::53]:54, ", (("127.0.0.1", 5353), ("2001:db8::53", 54))),
        ("2001:db8::53,[::1]", (("2001:db8::53", 53), ("::1", 53))),
    ],
)
def test_resolvers_are_addresses_with_or_without_a_port(tmp_path: Path, given, resolvers) -> None:
    assert config.read({"COQUI_DATA": str(tmp_path), "COQUI_DNS_RESOLVER": given}).dns_resolvers == resolvers


@pytest.mark.parametrize("given", ["dns.example.com", "192.0.2.53:dns", "192.0.2.53:0", "[::1]x", "1.1.1.1 8.8.8.8"])
def test_a_resolver_that_is_no_address_is_refused(tmp_path: Path, given) -> None:
    with pytest.raises(config.ConfigError, match="COQUI_DNS_RESOLVER"):
        config.read({"COQUI_DATA": str(tmp_path), "COQUI_DNS_RESOLVER": given})


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", []),
        ("lmtp://127.0.0.1:8024", ["lmtp://127.0.0.1:8024"]),
        (" smtp://0.0.0.0:25  lmtp://[::1]:24 ", ["smtp://0.0.0.0:25", "lmtp://[::1]:24"]),
    ],
)
def test_where_the_worker_receives(tmp_path: Path, given: str, shown: list[str]) -> None:
    found = config.read({"COQUI_DATA": str(tmp_path), "COQUI_LISTEN": given}).listen
    assert [str(one) for one in found] == shown


@pytest.mark.parametrize(
    "environment",
    [
        *({"COQUI_LISTEN": given} for given in (
            "127.0.0.1:8024", "lmtp://127.0.0.1", "http://127.0.0.1:80", "lmtp://localhost:24", "lmtp://[::1:24",
            "lmtp://127.0.0.1:99999", "lmtp://127.0.0.1:24/x",
        )),
        {"COQUI_LISTEN_TLS_CERT": "/etc/cert.pem"},
        {"COQUI_LISTEN_TLS_KEY": "/etc/key.pem"},
    ],
)  # fmt: skip
def test_a_listener_that_is_not_understood_stops_the_start(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(config.ConfigError, match="COQUI_LISTEN"):
        config.read({"COQUI_DATA": str(tmp_path), **environment})
