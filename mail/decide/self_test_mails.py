"""Pure: which emails belong to the self-test of a server: those that it sent, and the reports about them."""

from collections.abc import Mapping
from typing import NamedTuple

from mail.decide.facts import KnownMessage
from mail.decide.outcomes import SelfTested
from mail.decide.reply import answers_itself
from mail.decide.reported import About, Report
from mail.message.parse import IncomingMessage

NOBODY = "no-such-mailbox-"  # how the address begins that does not exist; what follows can't be guessed


class CameBack(NamedTuple):
    """What a mail is to a self-test, in a step; no outcome: nothing that the test waits for."""

    code: str
    outcome: SelfTested | None = None


def came_back(
    message: IncomingMessage, report: Report | None, signed: Mapping[str, KnownMessage], bounce_token: str
) -> CameBack | None:
    """Return what a mail is to a self-test, None if it has nothing to do with one.

    Only ids that we signed count, and of a report those in the returned part and in the address it was sent to, or the
    address that does not exist: some reports name nothing else.
    """
    if report is not None:
        ids = [*report.returned_ids, bounce_token, *unknown_mailboxes(report)]
        found = [known.self_test for id in ids if (known := signed.get(id)) is not None and known.self_test]
        if not found:
            return None
        if report.about not in (About.BOUNCE, About.UNREADABLE):
            return CameBack("route_self_test_report")
        part = max(found, key=lambda one: one.part_id)  # a reply names the email that it replies to as well
        if not part.part_id:
            return CameBack("route_self_test_over")
        return CameBack("route_self_test_returned", SelfTested(part, "returned", report=report))
    copy = signed.get(message.message_id or "") or signed.get(message.own_id or "")
    if copy is None or copy.self_test is None:
        return None
    if message.message_id not in signed and answers_itself(message, copy, signed):
        return None
    if not copy.self_test.part_id:
        return CameBack("route_self_test_over")
    named = (known for id in message.references if (known := signed.get(id)) is not None)
    answers = any(known.self_test is not None for known in named)
    return CameBack("route_self_test_arrived", SelfTested(copy.self_test, "arrived", answers))


def unknown_mailboxes(report: Report) -> list[str]:
    """Return the failed recipients of a report that may be addresses which a test made up."""
    addresses = (address for failed in report.failures for address in failed.addresses)
    return [address for address in addresses if address.startswith(NOBODY)]
