"""What Superset makes of itself when it is first asked, made before: two who ask first at once each got half of it."""


def install() -> None:
    """Part of Superset's FLASK_APP_MUTATOR, before anybody asks.

    SQL Lab runs statements as tasks of Celery, which makes all tasks ready with the first; of twenty statements that
    were a new process's first and came at once, thirteen failed.
    """
    from superset.extensions import celery_app

    celery_app.finalize()
