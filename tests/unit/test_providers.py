"""The data of providers: what people copy from it must be complete, and every figure must say where it is from."""

import re
from datetime import date
from urllib.parse import urlsplit

import pytest

from mail.message.domains import normalise_domain
from mail.settings.providers import COLUMNS, PROVIDERS, Provider, at, owner_of
from webapp.admin.outgoing_servers import LIMITS, OFFERED_PORTS, PORTS
from webapp.admin.provider_words import KINDS, UNITS, dns_of

each = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.key)


def facts(provider: Provider) -> list:
    return [provider, *provider.limits, *provider.quirks, *([provider.dns] if provider.dns else [])]


def test_the_well_known_providers_are_there() -> None:
    assert len(PROVIDERS) >= 20
    assert {"gmail", "google_relay", "microsoft_365", "amazon_ses", "postmark", "mailgun", "ovhcloud"} <= set(PROVIDERS)


@pytest.mark.parametrize("unique", ["name", "host"])
def test_no_two_providers_can_be_confused(unique: str) -> None:
    assert len({getattr(provider, unique) for provider in PROVIDERS.values()}) == len(PROVIDERS)


@each
def test_the_settings_can_be_saved_and_the_usual_ports_are_used(provider: Provider) -> None:
    assert normalise_domain(provider.host) == provider.host
    assert provider.encryption in PORTS and provider.encryption != "none"
    assert provider.port in OFFERED_PORTS and provider.kind in KINDS
    assert provider.port == PORTS[provider.encryption] or provider.port == 2525
    assert at(provider.host) == provider


@each
def test_every_figure_names_a_page_and_its_date(provider: Provider) -> None:
    for fact in facts(provider):
        page = urlsplit(fact.source)
        assert page.scheme == "https" and "." in page.netloc and not page.username
        assert type(fact.seen) is date and fact.seen >= date(2015, 1, 1)


@each
def test_limits_are_numbers_in_known_units(provider: Provider) -> None:
    for limit in provider.limits:
        assert type(limit.amount) is int and limit.amount > 1 and limit.unit in UNITS
    columns = [COLUMNS[limit.unit] for limit in provider.limits if limit.fill]
    assert len(columns) == len(set(columns)) and set(columns) <= {*LIMITS, "connections"}


@each
def test_what_dns_needs_can_be_looked_up(provider: Provider) -> None:
    if provider.dns is None:
        return
    names = [provider.dns.spf, provider.dns.return_path_of("acme.com")]
    assert not [name for name in names if name and not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", name)]
    assert provider.dns.dkim in ("cname", "txt")
    assert not [selector for selector in provider.dns.selectors if not re.fullmatch(r"[A-Za-z0-9-]+", selector)]


@each
def test_what_was_not_seen_on_a_page_is_told_as_usual(provider: Provider) -> None:
    if provider.dns:
        assert ("This is usually so" in " ".join(dns_of(provider.dns))) == provider.dns.usual


def test_the_relays_of_mass_mail_say_what_dns_needs() -> None:
    relays = [provider for provider in PROVIDERS.values() if provider.kind == "relay"]
    assert not [provider.key for provider in relays if provider.dns is None]
    assert PROVIDERS["resend"].dns and PROVIDERS["resend"].dns.return_path_of("acme.com") == "send.acme.com"


@each
def test_texts_are_whole_sentences(provider: Provider) -> None:
    texts = [provider.user, provider.password, *(quirk.says for quirk in provider.quirks)]
    texts += filter(None, [provider.choose, *(limit.note for limit in provider.limits)])
    texts += filter(None, [provider.dns.note if provider.dns else ""])
    assert not [text for text in texts if not text.endswith(".") or text != text.strip() or text[0].islower()]


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("email-smtp.eu-west-1.amazonaws.com", "amazon_ses"),
        ("email-smtp-fips.us-west-2.amazonaws.com", "amazon_ses"),
        ("smtppro.zoho.eu", "zoho"),
        ("smtp.zoho.com.au", "zoho_personal"),
        ("smtp.zohocloud.ca", "zoho_personal"),
        ("mail-eu.smtp2go.com", "smtp2go"),
        ("smtp.ionos.de", "ionos"),
        (" SMTP.Office365.com", "microsoft_365"),
        ("mail.example.com", ""),
        ("email-smtp.eu-west-1.amazonaws.com.example.com", ""),
        ("smtp.zoho", ""),
    ],
)
def test_a_host_is_recognised_in_every_region(host: str, key: str) -> None:
    found = at(host)
    assert (found.key if found else "") == key


def test_the_limits_that_hold_for_everybody_are_filled_in() -> None:
    filled = {"per_day": 10_000, "per_minute": 30, "connections": 3}
    assert PROVIDERS["microsoft_365"].filled_limits() == filled
    assert PROVIDERS["sparkpost"].filled_limits() == {"per_connection": 100}
    assert PROVIDERS["gmail"].filled_limits() == {}, "they depend on the account"


@pytest.mark.parametrize(
    ("domain", "key"),
    [
        ("gmail.com", "gmail"),
        ("yahoo.de", "yahoo"),
        ("outlook.com", "outlook_com"),
        ("acme.com", ""),
        ("notgmail.com", ""),
    ],
)
def test_a_domain_of_a_provider_is_not_taken_for_ones_own(domain: str, key: str) -> None:
    owner = owner_of(domain)
    assert (owner.key if owner else "") == key
