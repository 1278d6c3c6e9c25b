"""The data of providers: what people copy from it must be complete, and every figure must say where it is from."""

from datetime import date
from urllib.parse import urlsplit

import pytest

from mail.message.domains import normalise_domain
from mail.settings.providers import PROVIDERS, Provider, at
from webapp.admin.outgoing_servers import OFFERED_PORTS, PORTS
from webapp.admin.provider_words import KINDS, UNITS

each = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.key)


def facts(provider: Provider) -> list:
    return [provider, *provider.limits, *provider.quirks]


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


@each
def test_texts_are_whole_sentences(provider: Provider) -> None:
    texts = [provider.user, provider.password, *(quirk.says for quirk in provider.quirks)]
    texts += filter(None, [provider.choose, *(limit.note for limit in provider.limits)])
    assert not [text for text in texts if not text.endswith(".") or text != text.strip() or text[0].islower()]


def test_a_host_of_nobody_has_no_provider() -> None:
    assert at("mail.example.com") is None
