"""The door for time: the worker process that sends, fetches and does the scheduled actions. It serves no pages."""

from flask import Flask
from flask_babel import Babel

import models
from mail.settings import config as mail_config
from mail.settings.config import Settings
from models.connect import engine_options

THREADS = 40  # connections to the database: one for every thread that may want one at the same time


def create_worker_app(config: Settings | None = None) -> Flask:
    """Return the application that the worker works in, by these settings or those of the environment."""
    found = config or mail_config.read()
    app = Flask("coquimail-worker")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=found.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(found.database_url, "coquimail-worker", threads=THREADS),
        BABEL_DEFAULT_LOCALE="en",
        TESTING=found.testing,
    )
    app.extensions[mail_config.EXTENSION] = found
    models.init_app(app, found.fernet())
    Babel(app)
    return app
