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
