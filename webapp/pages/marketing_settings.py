"""Email Marketing ‣ Settings: the Dedicated Server for mailings, and what that means for all other mail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from wtforms import SelectField, TextAreaField
from wtforms.validators import Length

from mail.decide.sender import choose, decide
from mail.decide.servers import Choice, ChoiceStep, Server, read_filter
from mail.deliverability import checks, senders
from mail.errors import ChangeRefused
from mail.mailing import mailing_settings
from mail.mailing.rendered import mailing_request
from mail.message.address import first_address, normalise
from mail.sentences import Why, say
from mail.settings import office, parameters
from mail.settings.clock import now
from mail.settings.wake import wake
from models import Mailing, OutgoingServer, db
from webapp import auth, meanwhile
from webapp.fields import SwitchField
from webapp.pages.deliverability import LOOKS

blueprint = Blueprint("marketing_settings", __name__, url_prefix="/email-marketing")

STRANGER = "somebody@customer.example"  # a domain that nobody has: RFC 2606
UNFINISHED = ("scheduled", "sending", "paused")


@blueprint.before_request
def only_marketing() -> ResponseReturnValue | None:
    """Let in whoever may send to many."""
    return None if auth.role() in ("marketing", "admin") else auth.not_for_you()


class SettingsForm(FlaskForm):
    """The settings of Email Marketing."""

    dedicated = SwitchField(_l("Dedicated Server"))
    server = SelectField(_l("Outgoing server for mailings"), coerce=int, validate_choice=False)
    postal_address = TextAreaField(_l("Postal address"), [Length(max=500)], render_kw={"rows": 2})


@blueprint.route("/settings", methods=("GET", "POST"))
def index() -> ResponseReturnValue:
    """Show the settings, or save them."""
    servers = _servers()
    form = SettingsForm()
    form.server.choices = [(0, gettext("Choose a server")), *((one.id, _named(one)) for one in servers)]
    dedicated = _dedicated(servers)
    is_new_page = request.method == "GET"
    is_on = dedicated is not None or bool(parameters.DEDICATED_SERVER.get())
    meanwhile.holds(form.dedicated, is_on, is_new_page)
    meanwhile.holds(form.server, dedicated.id if dedicated else 0, is_new_page)
    meanwhile.holds(form.postal_address, parameters.COMPANY_ADDRESS.get(), is_new_page)
    if form.validate_on_submit() and meanwhile.nothing_clashes(form) and _saved(form):
        return redirect(url_for(".index"))
    form.server.shown_if = "dedicated=y,1"
    lanes = _lanes(dedicated)
    return render_template(
        "pages/marketing_settings.html",
        form=form,
        loaded=meanwhile.loaded_marks(form),
        servers=servers,
        dedicated=dedicated,
        gone=dedicated is None and bool(parameters.DEDICATED_SERVER.get()),
        lanes=lanes,
        warnings=_warnings(dedicated, lanes) if dedicated else [],
        domains=list(dict.fromkeys([*_domains(), *_mailing_domains(dedicated)])),
        spf=_spf(lanes, dedicated),
        looks=LOOKS,
        running=_running(),
        say=say,
    )


def _servers() -> Sequence[OutgoingServer]:
    query = select(OutgoingServer).where(OutgoingServer.active)
    return db.session.scalars(query.order_by(OutgoingServer.priority, OutgoingServer.id)).all()


def _named(server: OutgoingServer) -> str:
    return gettext("%(name)s (priority %(priority)s)", name=server.name, priority=server.priority)


def _dedicated(servers: Sequence[OutgoingServer]) -> OutgoingServer | None:
    chosen = parameters.DEDICATED_SERVER.get()
    return next((one for one in servers if one.id == chosen), None)


def _saved(form: SettingsForm) -> bool:
    """Keep what the form says; False when it can't be kept, with the reasons beside its fields."""
    chosen = (form.server.data or 0) if form.dedicated.data else None
    try:
        mailing_settings.save(chosen, form.postal_address.data or "", now(), current_user.id)
    except ChangeRefused as refused:
        for name, sentence in refused.sentences().items():
            form[name].errors = [sentence]
        flash(gettext("Not saved: check the marked fields."), "error")
        return False
    db.session.commit()
    wake("mailings")
    flash(gettext("Saved."), "success")
    return True


# --- what it means for the other mail


@dataclass(frozen=True)
class Lane:
    """A kind of transactional mail, and the server that the search finds for it."""

    name: Any
    sender: str
    choice: Choice

    @property
    def server(self) -> Server | None:
        return self.choice.server

    @property
    def why(self) -> Why | None:
        """The step that found the server."""
        return self.choice.failure or (self.choice.steps[-1] if self.choice.steps else None)


def _lanes(dedicated: OutgoingServer | None) -> list[Lane]:
    """The usual kinds of transactional mail and where each goes."""
    snapshot = office.load()
    known = snapshot.office
    senders = [
        (_l("Notifications (default address)"), known.default_address),
        (_l("Your own messages"), normalise(current_user.email)),
        (_l("Forwarded customer replies"), STRANGER),
    ]
    return [Lane(name, sender, choose(sender, snapshot.servers, known)) for name, sender in senders if sender]


def _warnings(dedicated: OutgoingServer, lanes: Sequence[Lane]) -> list[str]:
    """What would send transactional mail through the server of the mailings."""
    found = []
    by_step: dict[ChoiceStep | None, list[Lane]] = {}
    for lane in lanes:
        if lane.server is not None and lane.server.id == dedicated.id:
            by_step.setdefault(lane.choice.step, []).append(lane)
    for step, taken in by_step.items():
        kinds = ", ".join(f"{lane.name} ({lane.sender})" for lane in taken)
        found.append(
            f"{gettext('Goes through “%(server)s” too: %(kinds)s.', server=dedicated.name, kinds=kinds)} "
            f"{_remedy(step, dedicated.name)}"
        )
    others = [lane.server for lane in lanes if lane.server is not None and lane.server.id not in (None, dedicated.id)]
    for server in dict.fromkeys(others):
        if server.priority >= dedicated.priority:
            found.append(
                gettext(
                    "The priority of “%(transactional)s” is %(number)s, the priority of “%(dedicated)s” is %(other)s. "
                    "The transactional server must have the lower number: change one of the two.",
                    transactional=server.name,
                    number=server.priority,
                    dedicated=dedicated.name,
                    other=dedicated.priority,
                )
            )
    return found


def _remedy(step: ChoiceStep | None, server: str) -> str:
    """What keeps transactional mail away from the server of the mailings, by the step that led there."""
    if step is ChoiceStep.NO_FILTER:
        return gettext(
            "“%(server)s” has no FROM Filtering, so it accepts every From address. Enter the address your mailings are "
            "sent from, or give the transactional server the lower number and no FROM Filtering.",
            server=server,
        )
    if step is ChoiceStep.FIRST:
        return gettext("It is the first server by priority: give the transactional server the lower number.")
    return gettext(
        "The FROM Filtering of “%(server)s” has precedence. Remove that entry from it, or give the transactional "
        "server the same entry and the lower number.",
        server=server,
    )


def _domains() -> list[str]:
    """The domains that mail is sent as, and whose SPF records must know the servers."""
    known = office.load().office
    addresses = [
        one for domain in (known.first, *known.domains) for one in (domain.default_address, domain.bounce_address)
    ]
    return list(dict.fromkeys(address.partition("@")[2] for address in addresses if address))


def _mailing_domains(dedicated: OutgoingServer | None) -> list[str]:
    """The domains that mailings are sent as: those of the server's filter, and that of a mailing of whoever is here."""
    if dedicated is None:
        return []
    snapshot = office.load()
    sender = normalise(current_user.email)
    from_ = decide(mailing_request(sender or "", "", dedicated.id), snapshot.servers, snapshot.office).from_after
    address = first_address(from_)
    return [*senders.domains_in(read_filter(dedicated.from_filter)), *([address.domain] if address else [])]


@dataclass(frozen=True)
class SpfLine:
    """A server that sends as a domain, what for, and what the last check found; ``verdict`` None: not checked yet."""

    domain: str
    server: str
    host: str
    uses: Sequence[Any]
    verdict: Any


def _spf(lanes: Sequence[Lane], dedicated: OutgoingServer | None) -> list[SpfLine]:
    """Return what SPF says of the transactional server and of that of the mailings, for each domain."""
    usual, for_mailings = _domains(), _mailing_domains(dedicated)
    domains = [one for one in dict.fromkeys([*usual, *for_mailings]) if one != office.BUILT_IN_DOMAIN]
    reports = checks.latest_of_each(domains)
    everyday = [lane.server.id for lane in lanes if lane.server is not None]
    found = []
    for domain in domains:
        verdicts = {one["id"]: one["spf"] for one in reports[domain].report["servers"]} if domain in reports else {}
        for server in senders.sending_domain(domain).servers:
            uses = [_l("daily emails")] if server.id in everyday and domain in usual else []
            uses += [_l("mailings")] if dedicated is not None and dedicated.id == server.id else []
            if uses:
                found.append(SpfLine(domain, server.name, server.host, uses, verdicts.get(server.id)))
    return found


def _running() -> int:
    """How many mailings keep the server that they began with."""
    return db.session.scalar(select(func.count()).where(Mailing.state.in_(UNFINISHED))) or 0
