"""Each reference has an index on its side, or a reason: else the deletion of one row reads a whole table."""

import pytest
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint

from models import db

FEW = "a few hundred rows at the most"
STAYS = "what it refers to is never deleted"
REASONS = {
    "address_health.thread_id": STAYS,
    "alias.fixed_document_id": FEW,
    "alias.parent_document_id": FEW,
    "alias.responsible_id": FEW,
    "alias.type_id": FEW,
    "blacklisted_address.mailing_id": "a draft that is deleted has put nobody there",
    "blacklisted_address.thread_id": STAYS,
    "chunk.worker_id": "only chunks that are taken name one, and those have an index",
    "document.responsible_id": STAYS,
    "document.stage_id": "a person deletes a stage, once in a while",
    "domain_report.requested_by_id": STAYS,
    "incoming_server.action_type_id": FEW,
    "lease.worker_id": FEW,
    "mailing.created_by_id": STAYS,
    "mailing.forced_server_id": FEW,
    "mailing.server_id": FEW,
    "oauth_sign_in.requested_by_id": STAYS,
    "oauth_sign_in.worker_id": "sign-ins of thirty days",
    "post.author_contact_id": STAYS,
    "post.parent_id": STAYS,
    "route_result.document_id": STAYS,
    "route_result.post_id": STAYS,
    "scheduled_action.running_by_id": FEW,
    "server_check.requested_by_id": STAYS,
    "server_check.worker_id": "tests of thirty days",
    "system_parameter.changed_by_id": FEW,
}


def references() -> list[Column]:
    return [column for table in db.metadata.sorted_tables for column in table.columns if column.foreign_keys]


def leading_columns(table: Table) -> set[str]:
    """The columns by which rows are found: they come first in an index that has all rows with a value."""
    found = {column.name for column in table.columns if column.unique}
    for index in table.indexes:
        if is_whole(index):
            found.add(index.expressions[0].name)
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            found.add(next(iter(constraint.columns)).name)
    return found


def is_whole(index: Index) -> bool:
    condition = index.dialect_options["sqlite"]["where"]
    return condition is None or str(condition).endswith("_id IS NOT NULL")


@pytest.mark.parametrize("column", references(), ids=str)
def test_a_reference_has_an_index_or_a_reason(column):
    indexed = column.name in leading_columns(column.table)
    assert indexed != (str(column) in REASONS), "add an index, or a reason; a reason that is not needed goes"


def test_each_reason_is_for_a_reference():
    assert {str(column) for column in references()} >= REASONS.keys()
