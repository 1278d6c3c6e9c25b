"""Scheduled Actions: what the worker does at an interval, when it is due next, and how its runs went."""

from collections.abc import Callable
from typing import Any

from flask import flash, g, request
from flask.typing import ResponseReturnValue
from flask_babel import format_decimal, gettext, ngettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import func, select

from mail.maintenance import schedule
from mail.sentences import say
from mail.settings.clock import now
from mail.settings.parameters import NotValid
from mail.settings.wake import wake
from models import ActionRun, ScheduledAction, db
from webapp import checks, template_helpers
from webapp.admin import servers
from webapp.admin.base import AdminView, Button, FieldGroup, expose
from webapp.admin.outgoing_servers import badge

PAGE = 30  # runs of the history that are shown at once
UNITS = (
    ("seconds", _l("seconds")),
    ("minutes", _l("minutes")),
    ("hours", _l("hours")),
    ("days", _l("days")),
    ("weeks", _l("weeks")),
    ("months", _l("months")),
)
COUNTS: dict[str, Callable[[int], str]] = {
    "servers": lambda number: ngettext("%(num)s server", "%(num)s servers", number),
    "domains": lambda number: ngettext("%(num)s domain", "%(num)s domains", number),
    "mails": lambda number: ngettext("%(num)s email", "%(num)s emails", number),
    "failed": lambda number: gettext("%(num)s failed", num=number),
    "still_fetching": lambda number: gettext("%(num)s still fetching", num=number),
    "due": lambda number: ngettext("%(num)s due email", "%(num)s due emails", number),
    "recovered": lambda number: ngettext("%(num)s worker recovered", "%(num)s workers recovered", number),
    "sending": lambda number: gettext("%(num)s being sent", num=number),
    "done": lambda number: gettext("%(num)s done", num=number),
    "interrupted": lambda number: gettext("%(num)s interrupted", num=number),
}
PLACES = {name: place for place, name in enumerate(COUNTS)}  # not every database keeps the order of counts


def every(number: int, unit: str) -> str:
    """Return an interval in words."""
    match unit:
        case "seconds":
            return ngettext("every second", "every %(num)s seconds", number)
        case "minutes":
            return ngettext("every minute", "every %(num)s minutes", number)
        case "hours":
            return ngettext("every hour", "every %(num)s hours", number)
        case "days":
            return ngettext("every day", "every %(num)s days", number)
        case "weeks":
            return ngettext("every week", "every %(num)s weeks", number)
    return ngettext("every month", "every %(num)s months", number)


def counted(run: ActionRun) -> str:
    """Return what a run did, in words: "2 servers, 5 emails"."""
    counts = sorted((run.counts or {}).items(), key=lambda count: PLACES.get(count[0], len(PLACES)))
    said = [
        COUNTS[name](number) if name in COUNTS else f"{number} {name.replace('_', ' ')}"
        for name, number in counts
        if number
    ]
    return ", ".join(said) or ("" if run.state == "running" else gettext("nothing to do"))


def lasted(run: ActionRun) -> str:
    """Return how long a run took."""
    if run.ended_at is None:
        return ""
    seconds = (run.ended_at - run.started_at).total_seconds()
    return gettext("%(number)s s", number=format_decimal(round(seconds, 1)))


class ScheduledActionView(AdminView):
    """List, form and history of the scheduled actions."""

    model, page, path = ScheduledAction, "scheduled_actions", "scheduled-actions"
    title, one = _l("Scheduled Actions"), _l("scheduled action")
    lead = _l("What the worker does automatically. Changes take effect within two seconds, without a restart.")
    trail = (_l("Settings"), _l("Technical"), _l("Automation"))
    icon = "clock"
    small = True
    can_create = can_delete = can_export = False
    columns = ("name", "interval", "active", "next_run_at", "last_run")
    sortable = ("name", "next_run_at")
    default_sort = "id"
    list_template = "admin/scheduled_actions.html"
    edit_template = "admin/scheduled_action.html"
    labels = {
        "interval": _l("Interval"),
        "unit": _l("Unit"),
        "next_run_at": _l("Next run"),
        "last_run": _l("Last run"),
    }
    groups = (FieldGroup(_l("Schedule"), ("interval", "unit", "active")),)
    choices = {"unit": UNITS}
    help = {
        "active": _l("Off: the action runs only when you press Run now."),
    }
    form_args = {"interval": servers.number(1, 1_000_000, _l("A whole number from 1 to 1,000,000."))}
    formats = {
        "name": lambda view, row: view.name_of(row),
        "interval": lambda view, row: every(row.interval, row.unit),
        "next_run_at": lambda view, row: view.next_of(row),
        "last_run": lambda view, row: view.last_of(row),
    }
    buttons = (Button("run", _l("Run now"), "player-play"),)

    # --- the list

    @expose("/")
    def index_view(self) -> ResponseReturnValue:
        """Show the list, or only what changes in it for a page that is open."""
        if request.headers.get("X-Fragment"):
            answer: str = self.render(
                "admin/scheduled_actions_live.html", page=self._page(), sorted_by="", descending=False, actions=[]
            )
            return answer
        return super().index_view()

    def worker(self) -> checks.WorkerState:
        """Return whether a worker is there."""
        if "worker_state" not in g:
            g.worker_state = checks.worker_state()
        found: checks.WorkerState = g.worker_state
        return found

    def name_of(self, row: ScheduledAction) -> Markup:
        """Return the name and what the action does."""
        known = schedule.BY_CODE.get(row.code)
        return Markup('{}<small class="row-help">{}</small>').format(row.name, known.help if known else "")

    def next_of(self, row: ScheduledAction) -> Markup:
        """Return when an action runs next."""
        if row.run_requested_at is not None:
            return badge("busy", gettext("run requested"))
        if not row.active:
            return badge("off", gettext("turned off"))
        moment = now()
        if row.next_run_at <= moment:
            return badge("busy", gettext("due now")) if self.worker().alive else badge("doubt", gettext("waiting"))
        return template_helpers.due(row.next_run_at)

    def last_of(self, row: ScheduledAction) -> Markup:
        """Return how the last run went."""
        run = self._last_runs().get(row.id)
        if run is None:
            return Markup('<span class="text-secondary">{}</span>').format(gettext("never"))
        words = say(run.why) if run.why else counted(run)  # type: ignore[arg-type]
        return Markup('{} {}<small class="row-help{}">{}</small>').format(
            template_helpers.state(run.state),
            template_helpers.ago(run.started_at),
            " trouble" if run.state == "failed" else "",
            words,
        )

    def _last_runs(self) -> dict[int, ActionRun]:
        if "last_runs" not in g:
            newest = select(func.max(ActionRun.id)).group_by(ActionRun.action_id)
            runs = db.session.scalars(select(ActionRun).where(ActionRun.id.in_(newest)))
            g.last_runs = {run.action_id: run for run in runs}
        found: dict[int, ActionRun] = g.last_runs
        return found

    def row_tools(self, row: ScheduledAction) -> Markup:
        """Return the button that runs an action from the list."""
        return checks.button_of_row(self.get_url(".press", button="run"), gettext("Run now"), "player-play", row.id)

    # --- the form and the history

    def edit_form(self, obj: Any = None) -> Any:
        form = super().edit_form(obj)
        form.interval.description = self.smallest_of(obj)
        return form

    def smallest_of(self, row: ScheduledAction) -> str:
        """Return the smallest interval, in words."""
        seconds = schedule.smallest(row)
        return ngettext(
            "The minimum interval of this action is %(num)s second.",
            "The minimum interval of this action is %(num)s seconds.",
            seconds,
        )

    def help_of(self, row: ScheduledAction) -> Any:
        """Return what an action does."""
        known = schedule.BY_CODE.get(row.code)
        return known.help if known else ""

    def runs(self, row: ScheduledAction) -> list[ActionRun]:
        """Return some runs, the newest first; one more than are shown tells that there are older ones."""
        query = select(ActionRun).where(ActionRun.action_id == row.id).order_by(ActionRun.id.desc()).limit(PAGE + 1)
        before = request.args.get("before", type=int)
        return list(db.session.scalars(query.where(ActionRun.id < before) if before else query))

    def history_of(self, row: ScheduledAction) -> dict[str, Any]:
        """Return what the history of an action shows."""
        runs = self.runs(row)
        return {"runs": runs[:PAGE], "older": runs[PAGE - 1].id if len(runs) > PAGE else None}

    @expose("/<int:number>/history")
    def history_view(self, number: int) -> ResponseReturnValue:
        """Answer the state and the history of an action alone, for an open page."""
        answer: str = self.render("admin/scheduled_action_history.html", row=self._row(str(number)))
        return answer

    def words_of(self, run: ActionRun) -> str:
        """Return what came of a run."""
        said = [counted(run), say(run.why)]  # type: ignore[arg-type]
        return ". ".join(part for part in said if part)

    def lasted(self, run: ActionRun) -> str:
        """Return how long a run took."""
        return lasted(run)

    def before_save(self, form: Any, row: ScheduledAction, is_new: bool) -> None:
        """Change the action by the rules of ``maintenance.schedule``: the next run is planned from the last one."""
        interval, unit, active = form.interval.data, form.unit.data, bool(form.active.data)
        db.session.refresh(row, with_for_update=True)  # what the form wrote goes by the rules instead
        try:
            schedule.edit(row, interval, unit, active, now())
        except NotValid as error:
            servers.refuse(form.interval, str(error))

    def after_save(self, row: ScheduledAction, is_new: bool) -> None:
        wake(schedule.TOPIC)

    def press_run(self, row: ScheduledAction) -> None:
        """Ask the worker to run the action now, beside its schedule."""
        schedule.run_now(row.id, now())
        db.session.commit()
        wake(schedule.TOPIC)
        if self.worker().alive:
            flash(gettext("Run requested; the history below shows its progress."), "success")
        else:
            flash(gettext("It runs as soon as a worker is running; none is running now."), "warning")
