"""The data of those who host DNS: a form's fields are called as the page says, and no host is taken for another."""

from datetime import date
from urllib.parse import urlsplit

import pytest

from mail.settings.dns_hosts import HOSTS, DnsHost, of

each = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())


def test_the_most_used_hosts_are_there() -> None:
    assert len(HOSTS) >= 12
    assert len({host.title for host in HOSTS.values()}) == len(HOSTS)


@each
def test_each_names_its_fields_and_the_page_that_says_so(host: DnsHost) -> None:
    assert host.name and host.value and host.nameservers and host.root in ("@", "")
    assert host.where.endswith(".") and not host.where[0].islower()
    page = urlsplit(host.source)
    assert page.scheme == "https" and "." in page.netloc
    assert type(host.seen) is date and host.seen >= date(2015, 1, 1)


@pytest.mark.parametrize(
    ("nameservers", "title"),
    [
        (["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"], "Cloudflare"),
        (["NS11.DomainControl.com."], "GoDaddy"),
        (["dns1.registrar-servers.com"], "Namecheap"),
        (["ns-5.awsdns-11.com", "ns-1024.awsdns-00.co.uk"], "Amazon Route 53"),
        (["ns-cloud-a1.googledomains.com"], "Squarespace"),
        (["ns1045.ui-dns.org", "ns1045.ui-dns.de"], "IONOS"),
        (["dns200.anycast.me", "ns200.anycast.me"], "OVHcloud"),
        (["ada.ns.cloudflare.com", "ns1.acme.com"], ""),  # hosted in two places: neither form shows it all
        (["ns1.notovh.net"], ""),
        ([], ""),
    ],
)
def test_a_host_is_known_by_its_name_servers(nameservers: list[str], title: str) -> None:
    found = of(nameservers)
    assert (found.title if found else "") == title
