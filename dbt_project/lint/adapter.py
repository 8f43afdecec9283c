"""What dbt gives to macros, for sqlfluff, which reads the models without dbt."""

from collections.abc import Callable


def dispatch(name: str) -> Callable[..., str]:
    """A macro of a warehouse as a function's call: what it writes is of no interest to style."""
    return lambda *arguments: f"{name}({', '.join(map(str, arguments))})"
