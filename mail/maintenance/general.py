"""General Settings as one thing: what a person saves together is checked together and takes effect together."""

from dataclasses import dataclass
from datetime import datetime

from mail.errors import ChangeRefused
from mail.incoming import aliases
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.parameters import (
    BASE_URL,
    CATCHALL_DOMAIN,
    COMPANY_ADDRESS,
    COMPANY_NAME,
    CUSTOM_SERVERS,
    NotValid,
    Parameter,
)


@dataclass(frozen=True)
class GeneralSettings:
    """What the page General Settings holds. ``base_url`` is for links, ``address`` for letters on paper."""

    domain: str
    base_url: str
    company: str
    address: str
    custom_servers: bool


def current() -> GeneralSettings:
    """Return the settings as they are saved."""
    return GeneralSettings(
        domain=CATCHALL_DOMAIN.get(),
        base_url=BASE_URL.get(),
        company=COMPANY_NAME.get(),
        address=COMPANY_ADDRESS.get(),
        custom_servers=bool(CUSTOM_SERVERS.get()),
    )


def save(new: GeneralSettings, now: datetime, user_id: int | None = None) -> list[str]:
    """Save the settings and return the addresses that still point to a former alias domain; the caller commits.

    Raises ``ChangeRefused`` with a reason for each field that can't be like this.
    """
    known, moved = current(), []
    errors = _missing(new, known)
    if not errors:
        try:
            if new.domain.strip().lower() != known.domain:
                moved = aliases.change_domain(new.domain, now, user_id)
        except NotValid as error:
            errors["domain"] = why("value_refused", sentence=str(error))
        try:
            _put(BASE_URL, new.base_url, now, user_id)
        except NotValid as error:
            errors["base_url"] = why("value_refused", sentence=str(error))
    if errors:
        raise ChangeRefused(errors)
    _put(COMPANY_NAME, new.company, now, user_id)
    _put(COMPANY_ADDRESS, new.address.replace("\r\n", "\n"), now, user_id)
    _put(CUSTOM_SERVERS, "1" if new.custom_servers else "0", now, user_id)
    office.forget()
    return moved


def _missing(new: GeneralSettings, known: GeneralSettings) -> dict[str, Why]:
    errors = {}
    if not new.domain.strip() and known.domain:
        errors["domain"] = why("alias_domain_needed")
    if not new.company.strip():
        errors["company"] = why("company_needed")
    return errors


def _put(parameter: "Parameter[str] | Parameter[int]", text: str, now: datetime, user_id: int | None) -> None:
    """Set a parameter if that changes it, so that its last change stays the last change."""
    if str(parameter.get()) != text.strip():
        parameters.put(parameter.key, text, now, user_id)
