"""Which message of ours a mail answers: nobody takes over a thread, and the order of a thread's ids is kept."""

from datetime import UTC, datetime

import pytest

from mail.decide.facts import KnownMessage
from mail.decide.reply import answered, in_thread_order
from mail.documents.notify import MOST_REFERENCES, relayed_references
from mail.message.parse import parse

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)

# Ann's thread is 1, Bob's 2, the attacker's 9: he has sent mails of his own under Ann's and Bob's ids.
SIGNED = {
    "post-1": KnownMessage(20, thread_id=1, post_id=20),
    "post-2": KnownMessage(30, thread_id=2, post_id=30),
    "note-1": KnownMessage(25, thread_id=1, post_id=25, is_note=True),
    "mailing": KnownMessage(1e-9, trace_id=7),
    "digest": KnownMessage(0, mail_id=3),
}
STORED = {
    "ann": [KnownMessage(10, thread_id=1, post_id=10), KnownMessage(40, thread_id=9, post_id=40)],
    "ann-2": [KnownMessage(12, thread_id=1, post_id=12)],
    "bob": [KnownMessage(11, thread_id=2, post_id=11), KnownMessage(41, thread_id=9, post_id=41)],
    "stolen": [KnownMessage(42, thread_id=9, post_id=42)],
    "twice": [KnownMessage(13, thread_id=1, post_id=13), KnownMessage(14, thread_id=2, post_id=14)],
}


@pytest.mark.parametrize(
    ("ids", "follows", "post"),
    [
        ([], (), None),
        (["unknown"], (), None),
        # a foreign id alone: the first thread that has it, unless the sender follows another one
        (["ann"], (), 10),
        (["bob"], (), 11),
        (["twice"], (), 13),
        (["twice"], (2,), 14),
        (["twice"], (1, 2), 14),
        (["ann"], (1,), 10),
        (["ann"], (9,), 40),  # the attacker answers in his own thread
        (["ann"], (2,), 10),  # following a thread that does not have it gives nothing
        (["stolen"], (), 42),
        # several foreign ids: the oldest thread, and its last message
        (["ann", "stolen"], (), 10),
        (["stolen", "ann"], (), 10),
        (["ann", "ann-2"], (), 12),
        (["ann", "ann-2", "stolen"], (), 12),
        (["ann", "bob"], (), 10),
        (["ann", "bob"], (2,), 11),
        (["bob", "stolen"], (2,), 11),
        (["unknown", "bob"], (), 11),
        # ids that we signed win over all others, wherever they stand
        (["post-1"], (), 20),
        (["post-1", "stolen"], (), 20),
        (["stolen", "post-1"], (9,), 20),
        (["twice", "post-2"], (1,), 30),
        (["post-1", "post-2"], (), 30),
        (["post-2", "post-1"], (), 30),
        (["post-2", "post-1"], (1,), 30),
        (["note-1", "post-1"], (), 25),
        (["mailing", "post-1"], (), 20),
        (["mailing", "stolen"], (9,), "trace 7"),
        (["digest", "ann"], (), "mail 3"),
    ],
)
def test_who_takes_over_whose_thread(ids, follows, post):
    found = answered(ids, SIGNED, STORED, frozenset(follows))
    if found is None:
        assert post is None
    elif found.post_id is not None:
        assert found.post_id == post
    else:
        assert post == (f"trace {found.trace_id}" if found.trace_id else f"mail {found.mail_id}")


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("Subject: x", ""),
        ("In-Reply-To: <a@x>", "a"),
        ("References: <a@x> <b@x>", "a b"),
        ("In-Reply-To: <b@x>\nReferences: <a@x> <b@x>", "a b"),
        ("In-Reply-To: <p2@x>\nReferences: <c1@x> <p1@x> <c2@x> <p2@x>", "c1 p1 c2 p2"),
        ("In-Reply-To: <c@x>\nReferences: <a@x> <b@x>", "a b c"),  # what it answers comes last
        ("In-Reply-To: <a@x>\nReferences: <a@x> <b@x>", "a b"),
        ("In-Reply-To: <b@x> <d@x>\nReferences: <a@x>\n <b@x>\n\t<c@x>", "a b c d"),
        ("In-Reply-To: <b@\n x>\nReferences: <a@x> <b@\n x>", "a b"),
        ("References: <a@x> <b@x> <a@x>", "a b"),
    ],
)
def test_ids_keep_the_order_of_their_thread(header, ids):
    message = parse(f"From: a@x.test\n{header}\n\nhello".encode(), NOW)
    assert in_thread_order(message) == [f"<{id}@x>" for id in ids.split()]


def ids(text: str) -> list[str]:
    return [f"<{name}@x>" for name in text.split()]


@pytest.mark.parametrize(
    ("root", "named", "notes", "relayed"),
    [
        (None, "", "", ""),
        ("r", "", "", "r"),
        ("r", "r a b", "", "r a b"),
        ("r", "a b", "", "r a b"),
        (None, "a b", "", "a b"),
        ("r", "a r b", "", "r a b"),
        # ids of internal notes stay inside
        ("r", "r n a", "n", "r a"),
        ("r", "n", "n", "r"),
        ("n", "n a", "n", "a"),
        ("r", "n1 a n2", "n1 n2", "r a"),
        ("r", "n1 n2", "n1 n2", "r"),
        (None, "n", "n", ""),
        ("r", "r a", "n", "r a"),
        # of a long thread the first ones and the last ones
        ("r", "r a b c d e f g h i j k", "", "r a b c d e f g h i j k"),
        ("r", "r a b c d e f g h i j k l", "", "r a c d e f g h i j k l"),
        ("r", "a b c d e f g h i j k l m n o", "", "r a f g h i j k l m n o"),
        ("r", "a n b c d e f g h i j k l", "n", "r a c d e f g h i j k l"),
    ],
)
def test_what_a_relay_refers_to(root, named, notes, relayed):
    found = relayed_references(ids(root)[0] if root else None, ids(named), set(ids(notes)))
    assert found == ids(relayed)
    assert len(found) <= MOST_REFERENCES
