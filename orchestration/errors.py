"""What goes wrong, said so that the reader knows what to do next."""


class FleetmartError(Exception):
    """The work failed: what, where, and what to do. The command line exits with 1."""


class WrongUse(FleetmartError):
    """The caller asked for something that does not exist. The command line exits with 2."""


def is_for_want_of_room(error: BaseException) -> bool:
    """Whether something could not be written, in the words of whichever library tried."""
    words = ("no space left", "disk is full", "disk i/o error", "file too large", "could not write", "quota exceeded")
    seen: BaseException | None = error
    while seen is not None:
        if any(word in str(seen).lower() for word in words):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
