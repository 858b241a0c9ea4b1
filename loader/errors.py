"""The loader's errors.

LoaderError                 shown to the user as one line, never as a traceback
├── UsageError              the command, the settings or the contract are wrong (exit 2)
├── DatabaseError           the database can't be used now; every file stays where it is (exit 1)
├── FileProblem             one file can't be loaded; the others go on
│   ├── FileRefused         its content is not what its name says, or it is over its budget
│   └── FileUnavailable     it can't be read now: vanished, unreadable, changed while being read
├── AccountingError         counts that do not add up: the transaction is rolled back
└── Abandoned               the run is being given up (Ctrl-C): the load in hand is rolled back
"""

from __future__ import annotations

_MAX_MESSAGE = 1000


class LoaderError(Exception):
    """Base of all errors that the loader raises on purpose."""


class UsageError(LoaderError):
    """Raised for a wrong flag, setting or contract."""


class DatabaseError(LoaderError):
    """Raised when the database refuses, is away or lacks something; no file is touched."""


class FileProblem(LoaderError):
    """Raised when one file can't be loaded; carries a stable ``code`` and a message."""

    def __init__(self, code: str, message: str) -> None:
        from loader.names import printable  # which imports this module, too

        # Messages quote files: names of columns, words of libraries.
        message = printable(message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]}...")
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[FileProblem], tuple[str, str]]:
        """Say how to make it again in another process."""
        return type(self), (self.code, self.message)


class FileRefused(FileProblem):
    """Raised when a file's content can never be loaded as it is; it moves to quarantine."""


class FileUnavailable(FileProblem):
    """Raised when a file can't be read now; it stays where it is."""


class AccountingError(LoaderError):
    """Raised when read != inserted + duplicates + conflicts + rejected; nothing is committed."""


class Abandoned(LoaderError):
    """Raised in a load when the run is being given up; nothing of it is committed."""
