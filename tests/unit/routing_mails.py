"""One small office, and the table of raw mails in files: what must become of each in it."""

from datetime import UTC, datetime
from pathlib import Path

from mail.decide.facts import AddressBook, AliasRule, KnownMessage, SenderFacts

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
FOLDER = Path(__file__).parents[1] / "data" / "routing"

# --- the office: types 1 sales, 2 support, 3 projects; threads 100 (sales), 200 (support), 300, 50 and 60 (projects)

BOOK = AddressBook(
    [
        AliasRule(1, "sales@mycompany.test", type_id=1),
        AliasRule(2, "support@mycompany.test", type_id=2, make_contact=False),
        AliasRule(3, "partners@mycompany.test", type_id=2, policy="contacts"),
        AliasRule(4, "team@mycompany.test", type_id=3, policy="users", refusal="Please call us."),
        AliasRule(5, "project@mycompany.test", type_id=3, policy="followers", parent_thread_id=50),
        AliasRule(6, "broken@mycompany.test", type_id=3, policy="followers"),
        AliasRule(7, "board@mycompany.test", type_id=3, fixed_thread_id=60),
        AliasRule(8, "info@mycompany.test", type_id=1, any_domain=True),
        AliasRule(9, "old-sales@mycompany.test", type_id=1, retired=True),
        AliasRule(10, "catchall@mycompany.test", "catchall"),
        AliasRule(11, "bounce@mycompany.test", "bounce"),
        AliasRule(12, "old-catchall@mycompany.test", "catchall", retired=True),
        AliasRule(13, "old-bounce@mycompany.test", "bounce", retired=True),
        AliasRule(14, "board2@mycompany.test", type_id=3, fixed_thread_id=60),
        AliasRule(15, "nowhere@mycompany.test"),
        AliasRule(16, "old-support@mycompany.test", type_id=2, retired=True),
        AliasRule(17, "shop@second.test", type_id=2, one_domain=True),
        AliasRule(18, "all@second.test", "catchall", one_domain=True),
        AliasRule(19, "bounce@second.test", "bounce", one_domain=True),
        AliasRule(20, "sales@former.test", type_id=1, one_domain=True, retired=True),
        AliasRule(21, "catchall@former.test", "catchall", one_domain=True, retired=True),
    ],
    own=["notifications@mycompany.test"],
    domains=["mycompany.test", "second.test"],
)
N1 = KnownMessage(2, sender="notifications@mycompany.test", thread_id=100, type_id=1, post_id=11, mail_id=21)
STORED = {
    "<root@home.test>": [KnownMessage(1, thread_id=100, type_id=1, post_id=10)],
    "<shared@home.test>": [
        KnownMessage(1.1, thread_id=200, type_id=2, post_id=16),
        KnownMessage(1.2, thread_id=300, type_id=3, post_id=17),
    ],
}
SIGNED = {
    "<n1@mycompany.test>": N1,
    "ownid1": N1,
    "<relay-1@relay.test>": N1,  # what a relay called it
    "<n2@mycompany.test>": KnownMessage(3, thread_id=200, type_id=2, post_id=12, mail_id=22),
    "<note@mycompany.test>": KnownMessage(4, thread_id=100, type_id=1, post_id=13, is_note=True, mail_id=23),
    "<n3@mycompany.test>": KnownMessage(5, thread_id=300, type_id=3, post_id=14, mail_id=24),
    "<t1@mycompany.test>": KnownMessage(6, trace_id=7),
    "<t2@mycompany.test>": KnownMessage(7, trace_id=8, thread_id=100, type_id=1, post_id=15),
    "ta2b": KnownMessage(9, trace_id=7),
    "<gone@mycompany.test>": KnownMessage(8, mail_id=25),
}
REJECTIONS = frozenset({"<rejection@mycompany.test>", "looptag"})
SENDERS = {
    "ann@home.test": SenderFacts(contact_id=1, follows=frozenset({50, 300})),
    "bob@home.test": SenderFacts(contact_id=2),
    "clerk@home.test": SenderFacts(contact_id=3, user_id=1),
}


# --- the table: file, what becomes of it

MAILS = [
    # 0: our own mails come back
    ("01", "duplicate"),
    ("02", "duplicate"),
    ("03", "duplicate"),
    ("04", "reply 100"),
    ("05", "reply 100"),
    # 1: answers to our rejections
    ("06", "ignored route_own_answer"),
    ("07", "ignored route_own_answer"),
    ("08", "ignored route_own_answer"),
    # 2: reports
    ("09", "bounce of 21"),
    ("10", "bounce of babcdef"),
    ("11", "bounce of 21"),
    ("12", "bounce of 21"),
    ("13", "delay of 21"),
    ("14", "delivered of 21"),
    ("15", "bounce of nothing"),
    ("16", "bounce of nothing"),
    ("17", "unreadable of nothing"),
    ("18", "new by 1"),
    ("19", "new by 1"),
    ("20", "unreadable of 21"),
    ("21", "auto-note 100"),
    ("22", "ignored route_auto_reply_ignored"),
    ("23", "complaint of 7"),
    ("24", "receipt of 21"),
    ("25", "new by 1"),
    # 3: automatic answers
    ("26", "auto-note 100"),
    ("27", "ignored route_auto_reply_ignored"),
    ("28", "ignored route_auto_reply_ignored"),
    ("29", "ignored route_auto_reply_ignored"),
    ("30", "new by 1"),
    # 4: replies
    ("31", "reply 100"),
    ("32", "reply 100"),
    ("33", "reply 100"),
    ("34", "reply 100"),
    ("35", "reply 100"),
    ("36", "reply 200"),
    ("37", "reply 100"),
    ("38", "note 100"),
    ("39", "reply 100"),
    ("40", "reply 100"),
    ("41", "reply 100"),
    ("42", "new by 1"),
    ("43", "reject_users thread:300"),
    ("44", "reply 300"),
    ("45", "reply 300"),
    ("46", "reject_followers thread:300"),
    ("47", "reply 300"),
    ("48", "new by 2"),
    ("49", "new by 2"),
    ("50", "reply 100"),
    ("51", "reply 100"),
    ("52", "new by 2"),
    ("53", "replied 7, new by 1"),
    ("54", "replied 7, reject_catchall catchall"),
    ("55", "replied 8, reply 100"),
    # 5: the catchall and no alias
    ("56", "reject_catchall catchall"),
    ("57", "reject_catchall catchall"),
    ("58", "reject_catchall catchall"),
    ("59", "new by 1"),
    ("60", "reject_catchall catchall"),
    # 6: aliases
    ("61", "new by 1"),
    ("62", "new by 1"),
    ("63", "new by 1"),
    ("64", "new by 1"),
    ("65", "new by 1"),
    ("66", "new by 1, new by 2"),
    ("67", "new by 1"),
    ("68", "new by 8"),
    ("69", "quarantine"),
    ("70", "new by 9"),
    ("71", "new by 3"),
    ("72", "reject_contacts alias:3"),
    ("73", "new by 4"),
    ("74", "reject_users alias:4"),
    ("75", "new by 5"),
    ("76", "reject_followers alias:5"),
    ("77", "reject_followers_of_nothing alias:6"),
    ("78", "reject_users alias:4, new by 1"),
    ("79", "post 60"),
    ("80", "post 60"),
    ("81", "reply 300"),
    ("82", "reject_contacts alias:3"),
    ("83", "quarantine"),
    # 7, 8: the server's action is blank; nobody's
    ("84", "quarantine"),
    ("85", "quarantine nobody@mycompany.test"),
    ("86", "quarantine"),
    ("87", "quarantine"),
    ("88", "bounce of 21"),
    # our List-Unsubscribe header asked for it
    ("89", "unsubscribe:7"),
    # nobody has said what the alias makes
    ("90", "quarantine"),
    # unique bounce addresses are tried
    ("91", "ignored route_plus_works"),
    # 0: our own mails by other ways
    ("92", "duplicate"),
    ("93", "duplicate"),
    ("94", "duplicate"),
    ("95", "bounce of 21"),
    # 1: more about our rejections
    ("96", "ignored route_own_answer"),
    ("97", "new by 1"),
    # 2: reports of many kinds
    ("98", "bounce of 21"),
    ("99", "bounce of 21"),
    ("100", "delivered of 21"),
    ("101", "delay of 21"),
    ("102", "bounce of 21"),
    ("103", "bounce of 21"),
    ("104", "unreadable of babcdef"),
    ("105", "complaint of nothing"),
    ("106", "feedback of 7"),
    ("107", "feedback of 21"),
    ("108", "receipt of 21"),
    ("109", "auto-note 100"),
    ("110", "challenge of nothing, auto-note 100"),
    ("111", "bounce of nothing"),
    ("112", "bounce of nothing"),
    # 3: automatic answers of many programs
    ("113", "auto-note 100"),
    ("114", "auto-note 100"),
    ("115", "auto-note 100"),
    ("116", "ignored route_auto_reply_ignored"),
    ("117", "auto-note 100"),
    ("118", "reply 100"),
    ("119", "reply 100"),
    # 4: replies by every kind of id
    ("120", "reply 100"),
    ("121", "reply 100"),
    ("122", "reply 100"),
    ("123", "reply 100"),
    ("124", "reply 100"),
    ("125", "reply 100"),
    ("126", "reply 100"),
    ("127", "reply 300"),
    ("128", "reply 200"),
    ("129", "reply 200"),
    ("130", "note 100"),
    ("131", "note 100"),
    # 4: forwards
    ("132", "new by 16"),
    ("133", "post 60"),
    ("134", "reject_users alias:4"),
    ("135", "new by 2, post 60"),
    ("136", "reply 100"),
    ("137", "reply 300"),
    # 4: mailings
    ("138", "replied 7, new by 2"),
    ("139", "replied 7, reply 100"),
    ("140", "replied 7, quarantine"),
    ("141", "reject_catchall catchall"),
    ("142", "unsubscribe:7"),
    ("143", "reject_catchall catchall"),
    # 5: the catchall in company
    ("144", "reject_catchall catchall"),
    ("145", "reject_catchall catchall"),
    ("146", "reject_users alias:4"),
    ("147", "reject_catchall catchall"),
    ("148", "reject_catchall catchall"),
    ("149", "reject_catchall catchall"),
    # 6: several domains
    ("150", "new by 1"),
    ("151", "new by 17"),
    ("152", "quarantine shop@mycompany.test"),
    ("153", "new by 20"),
    ("154", "quarantine"),
    ("155", "new by 1"),
    # 6: addresses in odd dress
    ("156", "new by 1"),
    ("157", "new by 1"),
    ("158", "new by 1"),
    ("159", "new by 1"),
    ("160", "new by 1"),
    ("161", "new by 1"),
    # 6: the envelope in the header
    ("162", "new by 2"),
    ("163", "new by 1"),
    ("164", "new by 2"),
    ("165", "quarantine"),
    ("166", "quarantine"),
    # 6: policies and more
    ("167", "quarantine sales+offer@mycompany.test"),
    ("168", "new by 9, new by 1"),
    ("169", "new by 3"),
    ("170", "reject_users alias:4, reject_contacts alias:3"),
    ("171", "post 60, new by 2"),
    ("172", "new by 1"),
    ("173", "new by 1"),
    ("174", "new by 8"),
    ("175", "new by 1"),
    ("176", "reply 100"),
    # 6: people at the bounce address
    ("177", "reply 100"),
    ("178", "quarantine"),
    # 8: nobody's
    ("179", "quarantine jobs@mycompany.test"),
    ("180", "quarantine jobs@mycompany.test"),
    ("181", "quarantine"),
    ("182", "quarantine"),
    ("183", "quarantine"),
    ("184", "duplicate"),
]
