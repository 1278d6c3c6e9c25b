"""What a new office starts with: types of documents with their stages, addresses, parameters, scheduled actions."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mail.incoming import aliases
from mail.maintenance import schedule
from mail.settings import office, parameters
from mail.settings.parameters import CATCHALL_DOMAIN, COMPANY_NAME, DEFAULT_FROM
from models import Alias, DocumentType, ScheduledAction, Stage, SystemParameter, db


@dataclass(frozen=True)
class Type:
    """A type of documents as it comes ready made; ``alias`` is the local part whose mail opens one."""

    code: str
    name: str
    plural: str
    icon: str
    number_pattern: str
    stages: tuple[str, ...]
    alias: str = ""


TYPES = (
    Type(
        "opportunity", "Opportunity", "Opportunities", "briefcase", "OPP/{number:05d}",
        ("New", "Qualified", "Proposition", "Won", "Lost"), alias="sales",
    ),
    Type(
        "sales_order", "Sales order", "Sales orders", "shopping-cart", "SO/{number:05d}",
        ("Quotation", "Quotation sent", "Confirmed", "Delivered", "Cancelled"),
    ),
    Type("invoice", "Invoice", "Invoices", "receipt", "INV/{number:05d}", ("Draft", "Sent", "Paid", "Cancelled")),
    Type("ticket", "Ticket", "Tickets", "ticket", "TIC/{number:05d}",
         ("New", "In progress", "Waiting", "Solved"), alias="support"),
    Type("task", "Task", "Tasks", "checks", "TASK/{number:05d}", ("To do", "In progress", "Done")),
    Type(
        "applicant", "Applicant", "Applicants", "user-plus", "APP/{number:05d}",
        ("New", "Interview", "Offer", "Hired", "Refused"),
    ),
)  # fmt: skip
PARAMETERS = {CATCHALL_DOMAIN: office.BUILT_IN_DOMAIN, DEFAULT_FROM: "notifications", COMPANY_NAME: "My Company"}


def first_rows(now: datetime) -> None:
    """Add what is missing of the rows that every office starts with, and commit.

    Harmless at any time: what a person changed or removed on purpose stays as it is. Types, aliases and parameters come
    with the first start only; actions also when a later version brings new ones.
    """
    if db.session.scalar(select(DocumentType.id).limit(1)) is None:
        _types()
    set_by_hand = SystemParameter.key.startswith(parameters.INTERNAL, autoescape=True).is_(False)
    if db.session.scalar(select(SystemParameter.id).where(set_by_hand).limit(1)) is None:
        for parameter, value in PARAMETERS.items():
            parameters.put(parameter.key, value, now)
    if db.session.scalar(select(Alias.id).limit(1)) is None:
        _aliases()
    aliases.mirror()
    _actions(now)
    db.session.commit()
    office.forget()


def _types() -> None:
    for place, declared in enumerate(TYPES, 1):
        row = DocumentType(
            code=declared.code,
            name=declared.name,
            plural=declared.plural,
            icon=declared.icon,
            number_pattern=declared.number_pattern,
            position=place * 10,
        )
        row.stages = [Stage(position=number, name=name) for number, name in enumerate(declared.stages, 1)]
        db.session.add(row)
    db.session.flush()


def _aliases() -> None:
    aliases.mirror()
    ids = {row.code: row.id for row in db.session.execute(select(DocumentType.code, DocumentType.id))}
    for declared in TYPES:
        if declared.alias and declared.code in ids:
            aliases.add(declared.alias, ids[declared.code])


def _actions(now: datetime) -> None:
    known = set(db.session.scalars(select(ScheduledAction.code)))
    for declared in schedule.ACTIONS:
        if declared.code not in known:
            db.session.add(
                ScheduledAction(
                    code=declared.code,
                    name=declared.name,
                    interval=declared.interval,
                    unit=declared.unit,
                    next_run_at=declared.first_run(now),
                )
            )
