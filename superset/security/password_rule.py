"""What a password must be, wherever somebody sets one."""

from flask_appbuilder.exceptions import PasswordComplexityValidationError
from tenancy import current_user

SHORTEST = 12


def why_not(password: str, username: str) -> str | None:
    """What is wrong with the password of this log-in; None when nothing is."""
    if len(password) < SHORTEST:
        return f"A password has at least {SHORTEST} characters."
    if username.split("@")[0].lower() in password.lower():
        return "A password must not contain the name of its log-in."
    return None


def require_good(password: str) -> None:
    """FAB_PASSWORD_COMPLEXITY_VALIDATOR: raises PasswordComplexityValidationError for a password that is no good."""
    if wrong := why_not(password, getattr(current_user(), "username", None) or password + "?"):
        raise PasswordComplexityValidationError(wrong)
