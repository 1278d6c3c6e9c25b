"""Whom we believe (incoming.md 5): whether a mail counts as written by the person whom it names as its sender. Pure."""

from dataclasses import dataclass
from typing import Literal

from mail.decide.facts import Facts, LookUp, SenderFacts, judging
from mail.decide.sender_proof import prove
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

Mark = Literal["", "verified", "not_checked", "forged"]


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a sender is believed: what readers are told of it and why, and who he is for policies and threads.

    No mark: he claims nothing that has to be proved.
    """

    sender: SenderFacts
    mark: Mark = ""
    reason: Why | None = None


def trust(message: IncomingMessage, asked: LookUp, facts: Facts) -> Trust:
    """Return how far the sender of a mail is believed, by the results of the server that took it for us."""
    sender = facts.sender
    names_us = facts.book.speaks_for_us(asked.sender) or sender.user_id is not None
    author_is_user = asked.authorship.from_reply_to and facts.author.user_id is not None
    policies = {one.policy for one in judging(message, facts.book, facts.mailbox)} if sender.contact_id else set()
    if not (names_us or author_is_user or policies & {"contacts", "followers"}):
        return Trust(sender)
    proof = prove(message, facts.checked_by)
    if proof.state == "failed":
        return Trust(SenderFacts(sender.contact_id), "forged", proof.reason)
    if author_is_user:
        reason = why("sender_behind_reply_to") if proof.state == "verified" else proof.reason
        return Trust(sender, "not_checked", reason)
    if proof.state == "verified":
        shows_sender = names_us and not asked.authorship.from_reply_to
        return Trust(sender, "verified", proof.reason) if shows_sender else Trust(sender)
    has_right = "followers" in policies and bool(sender.follows)
    return Trust(sender, "not_checked", proof.reason) if names_us or has_right else Trust(sender)
