"""What the ledger notes of received mails: what became of them, which destinations had them, which aliases they hit."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy import case as sql_case

from mail.decide.outcomes import Rejected, SelfTested
from mail.incoming import forwarding
from mail.incoming.case import Case, storable
from mail.incoming.lookup import targets
from mail.sentences import Why
from mail.settings.parameters import VERP
from models import Alias, IncomingServer, ReceivedMail, RouteResult, db
from models.store import insert_rows


def note_results(cases: Sequence[Case], posts: Mapping[tuple[int, str], tuple[int, int | None]]) -> None:
    """Note which destinations have had each mail; ``posts``: by mail and destination, the post and its document.

    A destination that has it already makes the whole group fail.
    """
    rows = []
    for case in cases:
        for target in targets(case.routing):
            post_id, document_id = posts.get((case.id, target), (None, None))
            rows.append(
                {
                    "received_mail_id": case.id,
                    "message_key": case.key,
                    "target": target,
                    "post_id": post_id,
                    "document_id": document_id,
                }
            )
    insert_rows(RouteResult, rows)


_ALIASES: Any = Alias.__table__
# Only an edit makes such an alias valid, and no reply that it lets through.
_MISCONFIGURED = func.coalesce(_ALIASES.c.why["code"].as_string(), "") == "reject_followers_of_nothing"
_HIT = (
    update(_ALIASES)
    .where(_ALIASES.c.id == bindparam("alias"))
    .values(
        hits=_ALIASES.c.hits + bindparam("count"),
        last_hit_at=bindparam("at"),
        valid=sql_case((_MISCONFIGURED, _ALIASES.c.valid), else_=bindparam("is_valid", type_=_ALIASES.c.valid.type)),
        why=sql_case((_MISCONFIGURED, _ALIASES.c.why), else_=bindparam("reason", type_=_ALIASES.c.why.type)),
    )
)


def note_aliases(cases: Iterable[Case], now: datetime) -> None:
    """Count the mails of each alias, and note whether its last one could be taken, or none can before it is edited."""
    hits: Counter[int] = Counter()
    wrong: dict[int, Why] = {}
    with_plus: set[int] = set()
    for case in cases:
        if _shows_plus(case):
            with_plus.update(case.routing.hits)
        for alias_id in case.routing.hits:
            hits[alias_id] += 1
        for outcome in case.routing.outcomes:
            if isinstance(outcome, Rejected) and outcome.misconfigured and outcome.alias_id is not None:
                wrong[outcome.alias_id] = outcome.reason
    rows = [
        {"alias": id, "count": count, "at": now, "is_valid": id not in wrong, "reason": wrong.get(id)}
        for id, count in sorted(hits.items())
    ]
    if rows:
        db.session.connection().execute(_HIT, rows)
    if with_plus:
        db.session.execute(update(Alias).where(Alias.id.in_(with_plus)).values(plus_at=now))


def _shows_plus(case: Case) -> bool:
    """Say whether a mail shows that addresses with a plus arrive: the test's own one, for nobody else can make it.

    A person who decides about unique bounce addresses may write one by hand.
    """
    if not any(step["code"] == "route_plus_works" for step in case.routing.steps):
        return False
    is_test = any(isinstance(outcome, SelfTested) for outcome in case.routing.outcomes)
    return is_test or VERP.get() is not None


def note_alias_failure(case: Case, reason: Why) -> None:
    """Mark the aliases whose mail could not be filed; the caller commits."""
    aliases = sorted(case.routing.hits)
    if aliases:
        db.session.execute(
            update(_ALIASES)
            .where(_ALIASES.c.id.in_(aliases), _ALIASES.c.role == "alias", ~_MISCONFIGURED)
            .values(valid=False, why=reason)
        )


def ledger_values(case: Case) -> dict[str, Any]:
    """Return what the ledger shows of a mail."""
    message = case.message
    return {
        "message_id": storable(message.message_id)[:1000] if message.message_id else None,
        "message_key": case.key or None,
        "from_key": storable(case.sender)[:320] or None,
        "from_text": case.from_text,
        "to_text": storable(message.header("to"))[:500],
        "subject": storable(message.subject)[:500],
        "state": case.routing.state,
        "result": case.routing.result,
        "held": case.routing.held,
        "answer_id": case.answer_id,
        "unknown_address": storable(case.routing.unknown_address)[:320],
        "decision": [*message.problems, *case.routing.steps],
    }


def unfiled_values(case: Case, reason: Why) -> dict[str, Any]:
    """Return what the ledger shows of a mail that could not be filed: what held it before still does.

    Its answer was rolled back: that number is nobody's, or somebody else's by now.
    """
    found = ledger_values(case) | {"state": "quarantined", "result": ""}
    found["decision"] = [*case.message.problems, *case.routing.steps, reason]
    kept = {name for name in ("held", "unknown_address") if not found[name]}
    return {name: value for name, value in found.items() if name not in {*kept, "answer_id"}}


_LEDGER: Any = ReceivedMail.__table__
_LEDGER_COLUMNS = (
    *("message_id", "message_key", "from_key", "from_text", "to_text", "subject"),
    *("state", "result", "held", "answer_id", "unknown_address", "decision", "processed_at"),
)
_GIVEN_ANSWER = func.coalesce(bindparam("answer_id_", type_=_LEDGER.c.answer_id.type), _LEDGER.c.answer_id)
_CLOSED = (
    update(_LEDGER)
    .where(_LEDGER.c.id == bindparam("mail"))
    .values({name: bindparam(f"{name}_") for name in _LEDGER_COLUMNS} | {"answer_id": _GIVEN_ANSWER})
)


def close(cases: Sequence[Case], now: datetime) -> set[int]:
    """Write into the ledger what became of each mail, and let go of originals that are not wanted.

    Returns their contents, as ``let_go_of_discarded``.
    """
    rows = []
    for case in cases:
        values = ledger_values(case) | {"processed_at": now}
        rows.append({"mail": case.id, **{f"{name}_": value for name, value in values.items()}})
    db.session.connection().execute(_CLOSED, rows)
    decided = [case.id for case in cases if case.chosen]
    if decided:
        forwarding.decided(decided, now)
    return _let_go_of_originals(
        [case.id for case in cases if not case.keeps.original and case.routing.state != "quarantined"]
    )


def let_go_of_discarded(ids: Sequence[int]) -> set[int]:
    """Let go of the originals of mails that were discarded, where their incoming server keeps none.

    Returns their contents, which are to be deleted after the commit if nobody else needs them: that takes its time.
    """
    unwanted = select(ReceivedMail.id).join(IncomingServer, IncomingServer.id == ReceivedMail.incoming_server_id)
    unwanted = unwanted.where(ReceivedMail.id.in_(ids), IncomingServer.keep_original.is_(False))
    return _let_go_of_originals(db.session.scalars(unwanted).all())


def _let_go_of_originals(ids: Sequence[int]) -> set[int]:
    if not ids:
        return set()
    found = db.session.scalars(select(ReceivedMail.blob_id).where(ReceivedMail.id.in_(ids)))
    blobs = {blob_id for blob_id in found if blob_id is not None}
    db.session.execute(update(ReceivedMail).where(ReceivedMail.id.in_(ids)).values(blob_id=None))
    return blobs
