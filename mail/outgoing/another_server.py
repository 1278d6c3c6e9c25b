"""Another server for emails that were not sent: what each server would change, and the change itself.

What is shown before is the decision itself, made for these emails and each server without any effect.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, exists, func, or_, select, update

from mail.decide.sender import Decision, decide
from mail.errors import ChangeRefused
from mail.outgoing.lines import UNSENT, Again, decide_again, note, queue_again, request_of_mail, sort_out
from mail.sentences import Why, why
from mail.settings import office
from models import DeliveryAttempt, OutgoingMail, OutgoingServer, Recipient, change_rows, db
from models.slices import cut_from

AUTOMATIC = 0  # stands for a server that is searched for, as for any other email


@dataclass(frozen=True, slots=True)
class ServerOption:
    """A server that emails can be given to, and what would be decided about each of them then."""

    server_id: int
    name: str
    decisions: Sequence[Decision]

    @property
    def failure(self) -> Why | None:
        """Why it can't be chosen: it is turned off, or none of the emails can be sent through it."""
        found = [decision.failure for decision in self.decisions if decision.failure]
        gone = next((failure for failure in found if failure["code"] in ("server_off", "server_gone")), None)
        return gone or (found[0] if len(found) == len(self.decisions) else None)

    def failures(self) -> list[tuple[Why, int]]:
        """Return why some of the emails can't be sent through it, each with their number."""
        found = [decision.failure for decision in self.decisions if decision.failure]
        alike = {repr(failure): failure for failure in found}
        return [(alike[kind], number) for kind, number in Counter(map(repr, found)).most_common()]

    @property
    def keeps_from(self) -> bool:
        """Whether it sends each of the emails as its author."""
        return not any(decision.encapsulated or decision.failure for decision in self.decisions)

    def changes(self) -> list[tuple[Decision, int]]:
        """Return what differs between the emails that can be sent, each with the number that it is said about."""
        kinds = Counter[tuple[str, str]]()
        first: dict[tuple[str, str], Decision] = {}
        for decision in self.decisions:
            if decision.failure:
                continue
            kind = (decision.from_after if decision.encapsulated else "", decision.envelope_sender)
            kinds[kind] += 1
            first.setdefault(kind, decision)
        return [(first[kind], number) for kind, number in kinds.most_common()]


def options(mails: Sequence[OutgoingMail]) -> list[ServerOption]:
    """Return the choices for these emails: automatic first, then who may send as their From, turned off ones last."""
    snapshot = office.load()

    def option(server_id: int | None, name: str) -> ServerOption:
        requests = [request_of_mail(mail, server_id) for mail in mails]
        alike = {repr(request): request for request in requests}  # many emails of one author are decided about once
        decided = {key: decide(request, snapshot.servers, snapshot.office) for key, request in alike.items()}
        return ServerOption(server_id or AUTOMATIC, name, [decided[repr(request)] for request in requests])

    servers = [option(server.id, server.name) for server in sorted(snapshot.servers, key=lambda one: one.priority)]
    servers.sort(key=lambda one: (one.failure is not None, not one.keeps_from))
    return [option(None, ""), *servers]


def choose(line_ids: Collection[int], server_id: int, now: datetime, who: str) -> Again:
    """Send lines through another server (0: an automatic choice) and return what became of them.

    With them goes what else of the same emails still waits: an email has one server. Such a line keeps its time and its
    doubt, unless it waits for a limit or for any server. A line that no server can help is skipped. Raises
    ``ChangeRefused`` for a server that is turned off or gone. The caller commits and wakes.
    """
    server = next((one for one in office.load().servers if one.id == server_id), None)
    if server_id != AUTOMATIC and (server is None or not server.active):
        gone = why("server_gone", id=server_id) if server is None else why("server_off", server=server.name)
        raise ChangeRefused({"server": gone})
    moved, skipped = sort_out(line_ids, with_waiting=True)
    mails = set(db.session.scalars(select(Recipient.mail_id).where(Recipient.id.in_(moved)).distinct()))
    waiting = select(Recipient.id, Recipient.wait).where(Recipient.mail_id.in_(mails), Recipient.state == "queued")
    with_them = db.session.execute(waiting).all()
    scheduled = {line.id for line in with_them if line.wait == "schedule"}
    along = {line.id for line in with_them} - moved - scheduled
    chosen = why("line_server_chosen", user=who, server=server.name) if server else None
    reason = chosen or why("line_server_automatic", user=who)
    change_rows(update(OutgoingMail).where(OutgoingMail.id.in_(mails)).values(forced_server_id=server_id or None))
    note(scheduled | along, reason, now)
    for_server = or_(Recipient.wait == "limit", Recipient.why["code"].as_string() == "no_server")
    freed = update(Recipient).where(Recipient.id.in_(along), Recipient.state == "queued", for_server)
    change_rows(freed.values(wait="", why=None, next_try_at=now))
    queued, failed = queue_again(moved - scheduled, reason, now)
    if scheduled:
        decide_again(mails, now)
    others = select(func.count()).where(Recipient.id.in_(scheduled | along), Recipient.state == "queued")
    return Again(queued + (db.session.scalar(others) or 0), skipped, failed)


def in_doubt(line_ids: Collection[int], mail_ids: Collection[int]) -> int:
    """Count, of chosen lines and of those that go along with them, the ones that may have arrived before."""
    meant = or_(Recipient.id.in_(line_ids), Recipient.state == "queued")
    doubtful = or_(Recipient.state == "unknown", and_(Recipient.doubts > 0, Recipient.state.in_(UNSENT)))
    return db.session.scalar(select(func.count()).where(Recipient.mail_id.in_(mail_ids), meant, doubtful)) or 0


def prepare_deletion(server: OutgoingServer, now: datetime) -> None:
    """Cut what has ended from a server, slice by slice, and note its deletion at the emails for which it was chosen.

    Commits on its way; the caller deletes it, and commits.
    """
    cut_from(DeliveryAttempt.server_id, server.id)
    still_goes = exists().where(Recipient.mail_id == OutgoingMail.id, Recipient.state.in_(("queued", "sending")))
    cut_from(OutgoingMail.server_id, server.id, ~still_goes)
    chosen = select(Recipient.id).join(OutgoingMail, Recipient.mail_id == OutgoingMail.id)
    unsent = chosen.where(OutgoingMail.forced_server_id == server.id, Recipient.state.in_(UNSENT))
    note(unsent, why("line_server_deleted", server=server.name), now)
