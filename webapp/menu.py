"""The menu: one table of entries with the labels of the documentation, and who sees which of them.

An entry whose page is not registered is left out, so a page can be announced here before it is built. A page below an
entry with arguments says where it belongs: ``g.menu_place = {"code": document.type.code}``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from flask import current_app, g, request, url_for
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy import Select, func, select

from models import DocumentType, Notification, ReceivedMail, db

EVERYBODY = frozenset({"user", "marketing", "admin"})
MARKETING = frozenset({"marketing", "admin"})
ADMIN = frozenset({"admin"})
INBOX = "inbox.index"
RECEIVED = "received_mails.index_view"
MOST_SHOWN = 99
DNS = "dns spf dkim dmarc mx ptr records spam forged"


@dataclass(frozen=True)
class MenuEntry:
    """A line of the menu, or a group when it has children. ``also``: other words for it, for the search box."""

    label: Any
    endpoint: str = ""
    icon: str = ""
    roles: frozenset[str] = EVERYBODY
    developer: bool = False
    everyday: bool = False  # without developer mode, in which the same pages have the places of the documentation
    also: str = ""
    children: tuple["MenuEntry", ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    current: bool = False
    badge: str = ""

    @property
    def open(self) -> bool:
        """Whether the page being shown is this entry or one below it."""
        return self.current or any(child.open for child in self.children)


MENU: tuple[MenuEntry, ...] = (
    MenuEntry(_l("Documents"), icon="files"),  # its children are the types of documents
    MenuEntry(_l("Inbox"), INBOX, "inbox"),
    MenuEntry(
        _l("Email Marketing"),
        icon="speakerphone",
        roles=MARKETING,
        children=(
            MenuEntry(
                _l("Mailings"), "mailings.index", "mail-fast", MARKETING, also="mass mailing newsletter campaign"
            ),
            MenuEntry(_l("Mailing Lists"), "mailing_lists.index_view", "list-check", MARKETING, also="subscribers"),
            MenuEntry(_l("Contacts"), "contacts.index_view", "users", MARKETING, also="recipients addresses"),
            MenuEntry(
                _l("Configuration"),
                icon="adjustments-horizontal",
                roles=MARKETING,
                children=(
                    MenuEntry(
                        _l("Blacklisted Email Addresses"),
                        "blacklist.index_view",
                        roles=MARKETING,
                        also="opt-out bounces",
                    ),
                ),
            ),
            MenuEntry(_l("Settings"), "marketing_settings.index", "settings", MARKETING, also="dedicated server"),
        ),
    ),
    MenuEntry(
        _l("Email"),
        icon="mail",
        roles=ADMIN,
        everyday=True,
        children=(
            MenuEntry(_l("Received emails"), RECEIVED, "mail-opened", ADMIN, also="quarantine incoming"),
            MenuEntry(_l("Outgoing emails"), "outgoing_mails.index_view", "mail-forward", ADMIN, also="queue emails"),
            MenuEntry(_l("Aliases"), "aliases.index_view", "at", ADMIN, also="catchall bounce"),
            MenuEntry(_l("Domains"), "domains.index_view", "world", ADMIN, also="alias domain multi-company companies"),
            MenuEntry(_l("Deliverability"), "deliverability.index", "shield-check", ADMIN, also=DNS),
        ),
    ),
    MenuEntry(
        _l("Settings"),
        icon="settings",
        roles=ADMIN,
        children=(
            MenuEntry(
                _l("General Settings"),
                "settings.index",
                "adjustments",
                ADMIN,
                also="discuss custom email servers alias domain custom mail servers developer mode outgoing incoming",
            ),
            MenuEntry(
                _l("Receive by push"),
                "receiving.index",
                "download",
                ADMIN,
                also="lmtp smtp listener redirect forward pipe postfix exim procmail webhook inbound hosting online",
            ),
            MenuEntry(_l("Users"), "users.index_view", "users-group", ADMIN, also="accounts roles passwords"),
            MenuEntry(_l("Practice mailbox"), "practice.index", "mailbox", ADMIN, also="test trial mail"),
            MenuEntry(
                _l("Rehearsal mode"), "rehearsal.index", "refresh", ADMIN, also="trial copy staging training test"
            ),
            MenuEntry(
                _l("Simulators"),
                "simulators.outgoing",
                "flask",
                ADMIN,
                also="what if which server from address envelope sender reply-to route incoming header explainer spf "
                "dkim dmarc",
            ),
            MenuEntry(
                _l("Technical"),
                icon="tool",
                roles=ADMIN,
                developer=True,
                children=(
                    MenuEntry(
                        _l("Outgoing email servers"),
                        "outgoing_servers.index_view",
                        roles=ADMIN,
                        also="outgoing mail servers smtp from filtering",
                    ),
                    MenuEntry(
                        _l("Email"),
                        roles=ADMIN,
                        children=(
                            MenuEntry(
                                _l("Incoming"),
                                "incoming_servers.index_view",
                                roles=ADMIN,
                                also="incoming mail servers imap pop3 fetch",
                            ),
                            MenuEntry(
                                _l("Connected accounts"),
                                "oauth_accounts.index_view",
                                roles=ADMIN,
                                also="sign in google microsoft oauth gmail outlook office 365 token",
                            ),
                            MenuEntry(
                                _l("App registrations"),
                                "oauth_providers.index_view",
                                roles=ADMIN,
                                also="oauth client id secret google microsoft entra azure redirect",
                            ),
                            MenuEntry(_l("Aliases"), "aliases.index_view", roles=ADMIN, also="catchall bounce"),
                            MenuEntry(
                                _l("Domains"),
                                "domains.index_view",
                                roles=ADMIN,
                                also="alias domain multi-company companies",
                            ),
                            MenuEntry(_l("Deliverability"), "deliverability.index", roles=ADMIN, also=DNS),
                            MenuEntry(
                                _l("Outgoing emails"), "outgoing_mails.index_view", roles=ADMIN, also="queue emails"
                            ),
                            MenuEntry(
                                _l("Received emails"),
                                RECEIVED,
                                roles=ADMIN,
                                also="quarantine incoming",
                            ),
                        ),
                    ),
                    MenuEntry(
                        _l("Parameters"),
                        roles=ADMIN,
                        children=(
                            MenuEntry(
                                _l("System Parameters"),
                                "system_parameters.index_view",
                                roles=ADMIN,
                                also="mail.default.from mail.catchall.domain",
                            ),
                        ),
                    ),
                    MenuEntry(
                        _l("Automation"),
                        roles=ADMIN,
                        children=(
                            MenuEntry(
                                _l("Scheduled Actions"),
                                "scheduled_actions.index_view",
                                roles=ADMIN,
                                also="cron fetchmail service queue",
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ),
)


def visible(
    entries: Iterable[MenuEntry], role: str, developer: bool, pages: frozenset[str] | None = None
) -> tuple[MenuEntry, ...]:
    """Return the entries that somebody sees: by role, by developer mode and, when given, by the pages that exist."""
    seen = []
    for entry in entries:
        if role not in entry.roles or (entry.developer and not developer) or (entry.everyday and developer):
            continue
        children = visible(entry.children, role, developer, pages)
        has_page = bool(entry.endpoint) and (pages is None or entry.endpoint in pages)
        if children or has_page:
            seen.append(replace(entry, children=children))
    return tuple(seen)


def for_request(role: str, developer: bool) -> tuple[MenuEntry, ...]:
    """Return the menu of the page that is being shown, with addresses and the present place marked."""
    pages = frozenset(current_app.view_functions)
    return tuple(_placed(entry) for entry in visible(_with_types(MENU), role, developer, pages))


def unread(user_id: int) -> str:
    """Return how many notifications somebody has not read, as the menu shows it: "" for none, "99+" for many."""
    return _counted(select(Notification.id).where(Notification.user_id == user_id, Notification.read_at.is_(None)))


def quarantined() -> str:
    """Return how many received emails wait for a decision, as the menu shows it."""
    return _counted(select(ReceivedMail.id).where(ReceivedMail.state == "quarantined"))


def _counted(rows: Select[int]) -> str:
    count = db.session.scalar(select(func.count()).select_from(rows.limit(MOST_SHOWN + 1).subquery())) or 0
    return f"{MOST_SHOWN}+" if count > MOST_SHOWN else str(count or "")


def _with_types(entries: tuple[MenuEntry, ...]) -> tuple[MenuEntry, ...]:
    types = db.session.execute(
        select(DocumentType.code, DocumentType.plural, DocumentType.icon)
        .where(DocumentType.active)
        .order_by(DocumentType.position, DocumentType.id)
    )
    of_types = tuple(
        MenuEntry(name, "documents.index", picture, arguments={"code": code}) for code, name, picture in types
    )
    documents, *others = entries
    return (replace(documents, children=of_types), *others)


def _placed(entry: MenuEntry) -> MenuEntry:
    children = tuple(_placed(child) for child in entry.children)
    if not entry.endpoint or entry.endpoint not in current_app.view_functions:
        return replace(entry, children=children)
    return replace(
        entry,
        children=children,
        url=url_for(entry.endpoint, **entry.arguments),
        current=_is_current(entry),
        badge=_badge(entry),
    )


def _badge(entry: MenuEntry) -> str:
    if entry.endpoint == INBOX:
        return unread(current_user.id)
    return quarantined() if entry.endpoint == RECEIVED else ""


def _is_current(entry: MenuEntry) -> bool:
    if request.endpoint is None or request.endpoint.partition(".")[0] != entry.endpoint.partition(".")[0]:
        return False
    shown = {**(request.view_args or {}), **g.get("menu_place", {})}
    return all(shown.get(name) == value for name, value in entry.arguments.items())
