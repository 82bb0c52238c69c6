"""Errors that a user can act on: the entry scripts print their message as one line and exit with `exit_code`."""


class PoseError(Exception):
    """A run that cannot go on: names the file or key, what is wrong and what to do. Exit code 1."""

    exit_code = 1


class UsageError(PoseError):
    """A command or configuration that cannot be run as given. Exit code 2."""

    exit_code = 2


def one_line(error: object, limit: int = 200) -> str:
    """The text of an error of a library on one line; what a file smuggled into it cannot steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split()))[:limit]
