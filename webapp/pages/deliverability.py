"""Deliverability: whether receivers will believe emails from our domains, and what to paste so that they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy import select

from mail.decide.deliverability import SendingServer
from mail.deliverability import checks, own_keys, requests, senders
from mail.sentences import Why, say
from mail.settings import dns_hosts, office, providers
from mail.settings.clock import now
from mail.settings.dns_hosts import DnsHost
from models import DomainReport, ServerCheck, User, db
from webapp import auth
from webapp.checks import PATIENCE, worker_state
from webapp.pages.dkim_panel import panel_of

blueprint = Blueprint("deliverability", __name__, url_prefix="/deliverability")

MOST_REPORTS = 10  # of the history
LOOKS = {  # state of a verdict -> its look and its word
    "good": ("good", _l("Good")),
    "warning": ("doubt", _l("Could be better")),
    "bad": ("bad", _l("Needs fixing")),
    "unknown": ("off", _l("Unknown")),
}
WEIGHTS = ("spf", "dmarc", "passes", "mx", "dkim", "ptr")
OUTCOMES = {
    "no_name": _l("no such name"),
    "no_record": _l("no such record"),
    "silent": _l("no response"),
    "failed": _l("the resolver failed"),
    "malformed": _l("unreadable response"),
}


@blueprint.get("")
@auth.roles_required("admin")
def index() -> ResponseReturnValue:
    """Show the domains that we send from, and how each of them stands; then those that only have keys left."""
    sending = senders.sending_domains()
    left = [name for name in own_keys.domains_with_keys() if name not in sending]
    names = [*sending, *left]
    template = "pages/deliverability_live.html" if request.headers.get("X-Fragment") else "pages/deliverability.html"
    return render_template(
        template,
        names=names,
        left=left,
        reports=checks.latest_of_each(names),
        servers=senders.servers_by_domain(names),
        looks=LOOKS,
        first_problem=first_problem,
        say=say,
        built_in=office.BUILT_IN_DOMAIN,
        topic=checks.TOPIC,
    )


@blueprint.get("/<domain>")
@auth.roles_required("admin")
def show(domain: str) -> ResponseReturnValue:
    """Show what the last check of a domain found, and what to do about it."""
    is_left = must_be_ours(domain)
    is_part = bool(request.headers.get("X-Fragment"))
    template = "pages/deliverability_domain_live.html" if is_part else "pages/deliverability_domain.html"
    report, check = checks.latest(domain), _latest_check(domain)
    host = dns_hosts.of(report.report["nameservers"]) if report else None
    owner = providers.owner_of(domain)
    return render_template(
        template,
        domain=domain,
        is_left=is_left,
        report=report,
        found=report.report if report else None,
        records=_records(report, host) if report and owner is None else [],
        owner=owner,
        servers=_servers(domain, report) if report else [],
        host=host,
        check=check if check and (check.state in ("waiting", "running") or _is_fresh(check, report)) else None,
        history=_history(domain),
        looks=LOOKS,
        outcomes=OUTCOMES,
        say=say,
        topic=checks.TOPIC,
        dkim=panel_of(domain),
    )


@blueprint.post("/<domain>/check")
@auth.roles_required("admin")
def check(domain: str) -> ResponseReturnValue:
    """Ask the worker to check a domain now; while one check goes on, no other is asked for."""
    if not must_be_ours(domain):
        ask_for_check(domain)
    return redirect(url_for(".show", domain=domain))


def ask_for_check(domain: str) -> None:
    """Have the worker check a domain; commits."""
    last = _latest_check(domain)
    if last is None or last.state not in ("waiting", "running"):
        requests.ask([domain], now(), current_user.id)


@blueprint.get("/<domain>/progress/<int:check_id>")
@auth.roles_required("admin")
def progress(domain: str, check_id: int) -> ResponseReturnValue:
    """Answer how far a check is, for the page that shows it."""
    found = db.session.get(ServerCheck, check_id)
    if found is None or found.domain != domain:
        abort(404)
    return render_template("pages/deliverability_progress.html", **_progress(found))


def _progress(check: ServerCheck) -> dict[str, Any]:
    ignored = check.state == "waiting" and now() - check.requested_at > PATIENCE
    return {"check": check, "ignored": ignored, "worker": worker_state() if ignored else None, "say": say}


def must_be_ours(domain: str) -> bool:
    """Answer that there is no such page for a domain that we don't send from, unless keys of it are left.

    Returns whether they are all that is left of it.
    """
    if domain in senders.sending_domains():
        return False
    if not own_keys.keys_of(domain):
        abort(404)
    return True


# --- what is shown


@dataclass(frozen=True)
class ShownRecord:
    """A record to paste, with what the company that hosts the domain calls its fields."""

    about: str
    kind: str
    name: str
    full_name: str
    value: str
    replaces: Sequence[str]
    changes: Sequence[Why]


@dataclass(frozen=True)
class ShownServer:
    """A server of a domain, what it is used for, and what the last check found about it; None if it is newer."""

    server: SendingServer
    uses: Sequence[Any]
    found: Any


def _records(report: DomainReport, host: DnsHost | None) -> list[ShownRecord]:
    """Return the records to paste, what matters most first."""
    verdicts = [one for one in by_weight(report.report) if one["record"]]
    shown: dict[tuple[str, str, str], ShownRecord] = {}
    for verdict in verdicts:
        record = verdict["record"]
        is_quoted = bool(host and host.quoted and record["kind"] == "TXT")
        shown.setdefault(
            (record["kind"], record["name"], record["value"]),
            ShownRecord(
                about=verdict["about"],
                kind=record["kind"],
                name=host.entered_name(record["name"], report.report["zone"]) if host else record["name"],
                full_name=record["name"],
                value=record["quoted"] if is_quoted else record["value"],
                replaces=record["replaces"],
                changes=record.get("changes", ()),
            ),
        )
    return list(shown.values())


def by_weight(found: dict[str, Any]) -> list[Any]:
    """Return all verdicts of a stored report, what matters most to receivers first."""
    verdicts = [found["spf"], found["dmarc"], found["mx"], *found["dkim"]]
    for server in found["servers"]:
        verdicts += [server["spf"], server["passes"], *server["reverse"]]
    return sorted(verdicts, key=lambda one: WEIGHTS.index(one["about"]))


def first_problem(report: DomainReport) -> str:
    """Return in a sentence what is worst about a domain, "" when all is good."""
    if report.state == "good":
        return ""
    worst = (one for one in by_weight(report.report) if one["state"] == report.state and one["sentences"])
    return next((say(one["sentences"][0]) for one in worst), "")


def _servers(domain: str, report: DomainReport) -> list[ShownServer]:
    found = {one["id"]: one for one in report.report["servers"]}
    everyday, mailings = senders.everyday_server(domain), senders.mailing_server()
    shown = []
    for server in senders.sending_domain(domain).servers:
        uses = [_l("emails")] if everyday is not None and everyday.id == server.id else []
        uses += [_l("mailings")] if mailings is not None and mailings == server.id else []
        shown.append(ShownServer(server, uses, found.get(server.id)))
    return shown


# --- what is stored


def _latest_check(domain: str) -> ServerCheck | None:
    return db.session.scalar(
        select(ServerCheck)
        .where(ServerCheck.kind == "domain", ServerCheck.server_id == 0, ServerCheck.domain == domain)
        .order_by(ServerCheck.id.desc())
        .limit(1)
    )


def _is_fresh(check: ServerCheck, report: DomainReport | None) -> bool:
    """Whether a finished check is worth showing: it failed, and nothing was found since."""
    return check.state == "failed" and (report is None or report.at < check.requested_at)


def _history(domain: str) -> Sequence[Any]:
    report = DomainReport
    return db.session.execute(
        select(report.id, report.at, report.state, User)
        .outerjoin(User, User.id == report.requested_by_id)
        .where(report.domain == domain)
        .order_by(report.id.desc())
        .limit(MOST_REPORTS)
    ).all()
