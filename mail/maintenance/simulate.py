"""What if: how an email that nobody has written would be sent, by the functions that decide about real ones."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from mail.decide.sender import AuthorIs, Decision, decide
from mail.mailing.rendered import mailing_request
from mail.outgoing.enqueue import OutgoingDraft, request_of
from mail.sentences import Why, say
from mail.settings import office

Kind = Literal["document", "alone", "mailing"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class SimulatedMail:
    """An email as far as the decision depends on it; ``author`` is its From: "Name <address>".

    ``kind``: a message on a document of a type and with a title; ``alone``, one that belongs to no document; or a
    mailing. ``author_is`` says how the author of a message or of one that is relayed is known. ``server_id`` is the
    server that was named for it, ``reply_to`` and ``return_path`` ("<>" for none) what it was given.
    """

    author: str
    kind: Kind = "document"
    type_id: int | None = None
    title: str = ""
    author_is: AuthorIs = "verified"
    reply_to: str = ""
    return_path: str = ""
    server_id: int | None = None


def simulate(mail: SimulatedMail) -> Decision:
    """Return what would be decided now; nothing is stored, nothing is sent."""
    snapshot = office.load()
    if mail.kind == "mailing":
        request = mailing_request(mail.author, mail.reply_to, mail.server_id)
    else:
        draft = OutgoingDraft(
            "post",
            mail.author,
            mail.title,
            author_is=mail.author_is,
            has_document=mail.kind == "document",
            title=mail.title,
            type_id=mail.type_id,
            reply_to=mail.reply_to,
            return_path=mail.return_path,
            forced_server_id=mail.server_id,
        )
        request = request_of(draft, snapshot)
    return decide(request, snapshot.servers, snapshot.office)


# --- for programs and for a terminal


def explained(decision: Decision) -> dict[str, Any]:
    """Return a decision for JSON: each of its reasons has its code, its values and its sentence."""
    told = decision.as_json()
    told["steps"] = [_said(step) for step in decision.steps]
    told["warnings"] = [_said(warning) for warning in decision.warnings]
    told["failure"] = _said(decision.failure) if decision.failure else None
    return told


def _said(reason: Why) -> dict[str, Any]:
    values = dict(reason["values"])
    if "looked_at" in values:
        values["looked_at"] = [_said(one) for one in values["looked_at"]]
    return {"code": reason["code"], "values": values, "sentence": say(reason)}


def in_words(decision: Decision) -> list[str]:
    """Return a decision as lines of text."""
    lines = [
        f"Server:          {decision.server_name or '-'}",
        f"From:            {decision.from_after or decision.from_before or '-'}",
        f"Envelope sender: {decision.envelope_sender or '<>'}",
        f"Reply-To:        {decision.reply_to or '-'}",
    ]
    for step in decision.steps:
        lines.append(say(step))  # the steps of the search have their numbers in it
        lines += [f"   - {say(one)}" for one in step["values"].get("looked_at", ())]
    lines += [f"Warning: {say(warning)}" for warning in decision.warnings]
    return [f"Failed: {say(decision.failure)}", *lines[4:]] if decision.failure else lines
