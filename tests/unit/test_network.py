"""Which addresses we connect to: the outside always, the own network where that is allowed, others never."""

import pytest

from mail.transport.network import permitted

OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1a", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1",
           "2002:101:101::1", "2606:4700::5efe:1.1.1.1"]  # fmt: skip
OWN_NETWORK = ["127.0.0.1", "127.8.8.8", "10.0.0.8", "172.16.0.1", "192.168.1.9", "100.64.0.1", "::1", "fd12::1",
               "fc00::25", "::ffff:127.0.0.1", "::ffff:10.0.0.8", "64:ff9b::127.0.0.1", "2002:7f00:1::1",
               "2606:4700::5efe:10.0.0.8", "2606:4700::200:5efe:10.0.0.8"]  # fmt: skip
NEVER = ["0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1", "100.100.100.200", "168.63.129.16",
         "::", "fe80::1", "fe80::1%eth0", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254",
         "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "2606:4700::5efe:169.254.169.254",
         "::127.0.0.1", "::10.0.0.8", "::1.1.1.1", "::ffff:0:127.0.0.1", "::ffff:0:1.1.1.1", "64:ff9b:1::7f00:1",
         "64:ff9b:1::1", "64:ff9b:1:ffff::1", "fec0::1", "feff::1", "100::1", "2001:0:4136:e378::1",
         "2001:db8::1", "3fff::1", "5f00::1"]  # fmt: skip


@pytest.mark.parametrize("ip", OUTSIDE)
def test_the_outside_is_reached_from_everywhere(ip: str) -> None:
    assert permitted(ip, allow_local=False)
    assert permitted(ip, allow_local=True)


@pytest.mark.parametrize("ip", OWN_NETWORK)
def test_the_own_network_only_where_that_is_allowed(ip: str) -> None:
    assert not permitted(ip, allow_local=False)
    assert permitted(ip, allow_local=True)


@pytest.mark.parametrize("ip", NEVER)
def test_what_could_only_serve_an_attacker_is_never_reached(ip: str) -> None:
    assert not permitted(ip, allow_local=False)
    assert not permitted(ip, allow_local=True)
