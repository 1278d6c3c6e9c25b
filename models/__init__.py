"""Rows: columns, constraints, state names and the queries on one table. Nothing here knows what a mail means.

``db`` is the one Flask-SQLAlchemy object; ``init_app`` teaches a Flask application (web or worker) to use it, with
transactions that keep what they were given on SQLite and on PostgreSQL alike.
"""

from models.base import Unreadable, change_rows, db, init_app, only_read_on, reading, transactions, writing
from models.bounce import AddressHealth, BlacklistedAddress, Bounce
from models.clock import database_clock
from models.contact import Contact, MailingList, Subscription
from models.dkim import DkimKeyPair
from models.dmarc import DmarcReport, DmarcSource
from models.document import Document, DocumentType, Stage
from models.domain import DomainReport, OfficeDomain
from models.event import Event
from models.incoming import IncomingServer, MailboxState, ReceivedMail, RouteResult
from models.job import ActionRun, Lease, Outage, ScheduledAction, Worker
from models.mailing import Chunk, Mailing, Trace, mailing_lists
from models.oauth import OauthAccount, OauthProvider, OauthSignIn
from models.outgoing import DeliveryAttempt, LineChange, OutgoingMail, Recipient, RelayId
from models.parameter import SystemParameter
from models.practice import PracticeMail
from models.quota import Quota
from models.self_test import SELF_TEST_PARTS, SelfTestPart
from models.server import OutgoingServer, ServerCheck, ServerLimit
from models.slowdown import SlowedDomain
from models.store import Blob
from models.thread import Alias, Attachment, Follower, Notification, Post, Thread
from models.user import LoginAttempt, LoginSession, User

__all__ = [
    "SELF_TEST_PARTS",
    "ActionRun",
    "AddressHealth",
    "Alias",
    "Attachment",
    "BlacklistedAddress",
    "Blob",
    "Bounce",
    "Chunk",
    "Contact",
    "DeliveryAttempt",
    "DkimKeyPair",
    "DmarcReport",
    "DmarcSource",
    "Document",
    "DocumentType",
    "DomainReport",
    "Event",
    "Follower",
    "IncomingServer",
    "Lease",
    "LineChange",
    "LoginAttempt",
    "LoginSession",
    "MailboxState",
    "Mailing",
    "MailingList",
    "Notification",
    "OauthAccount",
    "OauthProvider",
    "OauthSignIn",
    "OfficeDomain",
    "Outage",
    "OutgoingMail",
    "OutgoingServer",
    "Post",
    "PracticeMail",
    "Quota",
    "ReceivedMail",
    "Recipient",
    "RelayId",
    "RouteResult",
    "ScheduledAction",
    "SelfTestPart",
    "ServerCheck",
    "ServerLimit",
    "SlowedDomain",
    "Stage",
    "Subscription",
    "SystemParameter",
    "Thread",
    "Trace",
    "Unreadable",
    "User",
    "Worker",
    "change_rows",
    "database_clock",
    "db",
    "init_app",
    "mailing_lists",
    "only_read_on",
    "reading",
    "transactions",
    "writing",
]
