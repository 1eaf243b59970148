"""Every failure a user can meet, as one paragraph: what, where, why it matters, what to do.

The command line prints ``str(error)`` and leaves with ``error.exit_code``; a traceback appears only
with ``--debug``. Anything that is not a :class:`ReckonError` is our bug and exits with 70.
"""

from __future__ import annotations


class ReckonError(Exception):
    """A failure with a cure.

    Args:
        what: the problem in one sentence.
        where: file and line, setting, folder or record at fault.
        why: what would have gone wrong had we continued.
        fix: what the user can do about it.
    """

    exit_code = 70

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        parts += [part for part in (self.why, self.fix) if part]
        return " ".join(part if part.endswith((".", "!", "?")) else part + "." for part in parts)


class ConfigError(ReckonError):
    """A recipe, setting or command line that cannot be run as written."""

    exit_code = 2


class DataError(ReckonError):
    """A file, folder or record that is missing, unreadable or not what it claims to be."""

    exit_code = 3


class GateFailed(ReckonError):
    """Training had to stop because it could not learn."""

    exit_code = 4


class Interrupted(ReckonError):
    """Stopped from outside (Ctrl-C, SIGTERM); the same command resumes the run."""

    exit_code = 75


class MissingColumn(ReckonError):
    """A batch lacks a column that an algorithm declared it needs."""
