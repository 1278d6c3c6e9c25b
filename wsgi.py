"""What gunicorn serves: ``gunicorn wsgi:app``; also what ``flask --app wsgi`` works with."""

from mail.settings.logs import set_up_logs
from mail.settings.process import keep_files_private
from webapp import create_app

keep_files_private()
set_up_logs()
app = create_app()
