"""What goes wrong, said so that the reader knows what to do next."""


class FleetmartError(Exception):
    """The work failed: what, where, and what to do. The command line exits with 1."""


class WrongUse(FleetmartError):
    """The caller asked for something that does not exist. The command line exits with 2."""
