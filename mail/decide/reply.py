"""Which message of ours a mail answers (incoming.md 5.4): nobody takes over a thread by using an id again."""

from collections.abc import Iterable, Mapping, Sequence

from mail.decide.facts import MOST_IDS, KnownMessage, both_ends
from mail.message.parse import IncomingMessage


def answered(
    ids: Iterable[str],
    signed: Mapping[str, KnownMessage],
    stored: Mapping[str, Sequence[KnownMessage]],
    follows: frozenset[int] = frozenset(),
) -> KnownMessage | None:
    """Return the message that a mail answers, by all the ids that it names; None if they name none of ours.

    Ids that we signed win over all others, of several the message stored last; one of a thread wins over one that
    belongs to none, such as a mailing. A foreign id is only a claim: of the threads that have it the one that the
    sender follows, else the first.
    """
    ids = list(ids)
    ours = [known for id in ids if (known := signed.get(id)) is not None]
    if ours:
        in_threads = [known for known in ours if known.thread_id is not None]
        return max(in_threads or ours, key=lambda known: known.order)
    foreign = [known for id in ids for known in stored.get(id, ())]
    followed = [known for known in foreign if known.thread_id in follows]
    if followed:
        return max(followed, key=lambda known: known.order)
    first = min(foreign, key=lambda known: known.order, default=None)
    if first is None:
        return None
    return max((known for known in foreign if known.thread_id == first.thread_id), key=lambda known: known.order)


def in_thread_order(message: IncomingMessage) -> list[str]:
    """Return the ids that a mail names as its thread has them: References in their order, then what it answers."""
    references = "".join(message.raw_header("references").split())
    ids = both_ends(message.references, MOST_IDS)
    return sorted(ids, key=lambda id: found if (found := references.find(id)) >= 0 else len(references))


def answers_itself(message: IncomingMessage, copy: KnownMessage, known: Mapping[str, KnownMessage]) -> bool:
    """Say whether a mail with our own id header is an answer by a program that keeps such headers, not a copy."""
    named = (found for id in message.references if (found := known.get(id)) is not None)
    if any(found.same_as(copy) for found in named):
        return True
    other_sender = bool(copy.sender) and bool(message.from_key) and message.from_key != copy.sender
    return other_sender and not message.is_list  # a list passes copies on as its own
