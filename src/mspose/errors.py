"""Errors that a user can act on: the entry scripts print their message as one line and exit with `exit_code`."""


class PoseError(Exception):
    """A run that cannot go on: names the file or key, what is wrong and what to do. Exit code 1."""

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(_shortened(_harmless(str(message))))


class UsageError(PoseError):
    """A command or configuration that cannot be run as given. Exit code 2."""

    exit_code = 2


def os_reason(error: OSError) -> str:
    """What the operating system refuses, and of which file."""
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)


def one_line(error: object, limit: int = 200) -> str:
    """The text of an error of a library on one line; what a file smuggled into it cannot steer a terminal."""
    return _harmless(" ".join(str(error).split()))[:limit]


def _shortened(text: str, limit: int = 2000) -> str:
    """The text, without its middle where a value from a file fills pages."""
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"


def _harmless(text: str) -> str:
    """The text on one line, without what steers a terminal; bytes of file names that are not UTF-8 may stay."""
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else "?" for c in text)
