"""What gunicorn serves: ``gunicorn wsgi:app``; also what ``flask --app wsgi`` works with."""

import os
import sys

try:
    from mail.settings.logs import set_up_logs
    from mail.settings.process import keep_files_private
    from webapp import create_app

    keep_files_private()
    set_up_logs()
    app = create_app()
except Exception as error:
    if "receive" not in sys.argv:
        raise
    # A mail server takes another number for a final failure, and returns the mail that it has in the pipe.
    print(f"The email is not stored; try again later. {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
    sys.exit(os.EX_TEMPFAIL)
