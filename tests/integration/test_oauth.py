"""Connected accounts: what a database of before keeps, and what nobody can read."""

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, text

from models import IncomingServer, MailboxState, OauthAccount, OauthProvider, OutgoingServer, db
from tests.integration.test_numbers import migrate


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # PostgreSQL makes no table anew to change it
def test_a_database_of_before_keeps_its_servers_and_all_that_refers_to_them(
    app: Flask, database: str, tmp_path: Path
) -> None:
    with app.app_context():
        db.session.add(OutgoingServer(name="Relay", host="smtp.x.test", authentication="none"))
        db.session.add(IncomingServer(name="Box", host="imap.x.test", user="box", password="secret"))
        db.session.flush()
        db.session.add(MailboxState(incoming_server_id=1, folder="INBOX", uidvalidity=7, last_uid=9))
        db.session.commit()
        db.engine.dispose()
    migrate(database, tmp_path / "data", "db", "downgrade", "0026")
    migrate(database, tmp_path / "data", "upgrade")
    with app.app_context():
        assert db.session.scalars(select(MailboxState.last_uid)).all() == [9]
        box = db.session.scalars(select(IncomingServer)).one()
        assert (box.authentication, box.password, box.oauth_account_id) == ("password", "secret", None)
        assert db.session.scalars(select(OutgoingServer.authentication)).all() == ["none"]
        if db.engine.dialect.name == "sqlite":
            assert db.session.scalar(text("PRAGMA foreign_keys")) == 1


def test_tokens_and_the_client_secret_are_stored_encrypted(app: Flask) -> None:
    with app.app_context():
        provider = OauthProvider(kind="google", name="Google", client_id="id", client_secret="frog-secret")
        account = OauthAccount(provider=provider, address="a@x.test", access_token="frog-a", refresh_token="frog-r")
        db.session.add(account)
        db.session.commit()
        stored = db.session.execute(text("SELECT access_token, refresh_token FROM oauth_account")).one()
        kept = db.session.scalar(text("SELECT client_secret FROM oauth_provider"))
        assert "frog" not in f"{stored} {kept}"
        assert (account.access_token, account.provider.client_secret) == ("frog-a", "frog-secret")
