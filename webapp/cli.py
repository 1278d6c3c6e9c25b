"""What an admin may automate: ``flask --app wsgi create-user``, ``first-start``, ``upgrade``, ``simulate`` …"""

import json
import sys
from pathlib import Path
from typing import Any, get_args

import click
from flask import Flask
from flask.cli import with_appcontext
from flask_migrate import Migrate, downgrade
from flask_migrate import upgrade as migrate_to
from sqlalchemy import select

from mail.decide.sender import AuthorIs
from mail.maintenance import explain_header
from mail.maintenance import simulate_arrival as arrival
from mail.maintenance.rehearsal import begin as begin_rehearsal
from mail.maintenance.setup import first_rows
from mail.maintenance.simulate import KINDS, SimulatedMail, explained, in_words, simulate
from mail.message.pasted_header import LARGEST_PASTE
from mail.sentences import why
from mail.settings import rehearsal
from mail.settings.clock import now
from models import DocumentType, IncomingServer, OutgoingServer, db
from models.user import ROLES
from webapp import auth, first_start, receive
from webapp.passwords import AccountError

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


@click.command("create-user")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), default="user", show_default=True)
@click.option("--name", default="", help="The name others see. Default: the part before the @.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone, such as Europe/Madrid.")
@with_appcontext
def create_user(email: str, role: str, name: str, zone: str) -> None:
    """Add somebody who may log in. The password is asked for, or read from standard input: never on a command line."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        user = auth.create_user(email, name, password, role, now())
    except AccountError as error:
        raise click.ClickException(str(error)) from error
    user.zone = zone
    db.session.commit()
    click.echo(f"{user.email} may log in as {role}.")


@click.command("first-start")
@with_appcontext
def print_first_start() -> None:
    """Print a new one-time link that makes the first account; older ones stop working."""
    if first_start.nobody_yet():
        click.echo(f"Create the first account here (the link works once): {first_start.first_start_link()}")
    else:
        click.echo("An account already exists; add others with create-user.", err=True)


@click.command("upgrade")
@click.option("--to", "revision", default="head", show_default=True)
@with_appcontext
def upgrade(revision: str) -> None:
    """Bring the database to the present version (or --to another) and add what every office starts with."""
    migrate_to(directory=str(MIGRATIONS), revision=revision)
    if revision == "head":
        first_rows(now())


@click.command("downgrade")
@click.argument("revision")
@with_appcontext
def go_back(revision: str) -> None:
    """Bring the database back to an older version."""
    downgrade(directory=str(MIGRATIONS), revision=revision)


@click.group("simulate")
def simulate_group() -> None:
    """Ask what would happen to an email; nothing is sent."""


@simulate_group.command("send")
@click.option("--from", "author", default="", help='The author: "Ann Lee <ann@mycompany.com>".')
@click.option("--kind", type=click.Choice(KINDS), default="document", show_default=True)
@click.option("--type", "code", default="", help="Code of the document type, such as opportunity.")
@click.option("--title", default="", help="Title of the document.")
@click.option("--author-is", type=click.Choice(get_args(AuthorIs)), default="verified", show_default=True)
@click.option("--server", default="", help="Name of the server that the email names itself.")
@click.option("--reply-to", default="")
@click.option("--return-path", default="", help="<> for none.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@with_appcontext
def simulate_send(code: str, server: str, as_json: bool, **values: Any) -> None:
    """Say which server would send an email, as whom, where failures and replies would go, and why."""
    type_id = _number(DocumentType.code, code, "document type with the code") if code else None
    server_id = _number(OutgoingServer.name, server, "outgoing server named") if server else None
    decision = simulate(SimulatedMail(**values, type_id=type_id, server_id=server_id))
    click.echo(json.dumps(explained(decision), indent=2) if as_json else "\n".join(in_words(decision)))
    if decision.failure:
        sys.exit(1)


@simulate_group.command("receive")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--from", "sender", default="", help="Instead of a file: who writes.")
@click.option("--to", default="", help="Instead of a file: to whom.")
@click.option("--subject", default="")
@click.option("--in-reply-to", default="", help="Message-ID of the email that it replies to.")
@click.option("--server", default="", help="Name of the incoming server that fetches it.")
@click.option("--envelope-to", default="", help="Envelope recipients, separated by commas.")
@click.option("--envelope-from", default="", help="Envelope sender; <> for none.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@with_appcontext
def simulate_receive(file: Any, server: str, as_json: bool, **values: Any) -> None:
    """Say what would become of an email that arrives now: FILE ("-": standard input), or --from, --to and --subject."""
    server_id = _number(IncomingServer.name, server, "incoming server named") if server else None
    raw = file.read() if file is not None else b""
    found = arrival.simulate_arrival(arrival.GivenMail(raw, server_id=server_id, **values), now())
    click.echo(json.dumps(arrival.as_json(found), indent=2) if as_json else "\n".join(arrival.in_words(found)))
    if found.problem:
        sys.exit(1)


@simulate_group.command("headers")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@with_appcontext
def simulate_headers(file: Any, as_json: bool) -> None:
    """Explain the header of a received email: FILE, or standard input. Nothing is stored."""
    found = explain_header.explain(file.read(LARGEST_PASTE + 1))
    words = (
        json.dumps(explain_header.as_json(found), indent=2) if as_json else "\n".join(explain_header.in_words(found))
    )
    click.echo(words)
    if found.problem:
        sys.exit(1)


@click.command("rehearse")
@with_appcontext
def rehearse() -> None:
    """Turn rehearsal mode on: for a copy that nothing tells from the original, before its worker starts."""
    found = rehearsal.current()
    if found is None or found.end or not found.may_be_a_copy:
        begin_rehearsal(why("rehearsal_by_command"), now())
    click.echo("Rehearsal mode is on: no email reaches anybody. Settings ‣ Rehearsal mode ends it.")


def _number(column: Any, value: str, what: str) -> int:
    found: int | None = db.session.scalar(select(column.class_.id).where(column == value))
    if found is None:
        raise click.ClickException(f"There is no {what} {value}.")
    return found


def init_app(app: Flask) -> None:
    """Add the commands to an application."""
    Migrate(app, db, directory=str(MIGRATIONS), compare_type=True, render_as_batch=True)
    for command in (create_user, print_first_start, upgrade, go_back, simulate_group, receive.receive, rehearse):
        app.cli.add_command(command)
