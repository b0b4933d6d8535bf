"""A Django project of one file: django-oauth-toolkit, as ``django_toolkit.py`` configures and gunicorn serves it.

It runs in a process of its own, from a copy in the folder of its server; nothing of the tests is imported here.
"""

from __future__ import annotations

import json
from pathlib import Path

import django
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

HERE = Path(__file__).parent
CONFIGURATION = json.loads((HERE / "configuration.json").read_text())


class FewRounds(PBKDF2PasswordHasher):
    """Client secrets are hashed as Django does it, in a thousandth of the rounds: those are a third of a second a request."""

    iterations = 1000


APPLICATIONS = ("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider")
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": HERE / "database",
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"},
        }
    },
    INSTALLED_APPS=APPLICATIONS,
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["stderr"]},
    },
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "oauth2_provider.middleware.OAuth2TokenMiddleware",
    ],
    # Tables are made from the models at once, not by replaying every change that they ever had.
    MIGRATION_MODULES={name.rpartition(".")[2]: None for name in APPLICATIONS},
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": CONFIGURATION["ttl"],
        "DCR_ENABLED": True,
        "DCR_REGISTRATION_PERMISSION_CLASSES": ("oauth2_provider.dcr.AllowAllDCRPermission",),
        "DEFAULT_SCOPES": [],
        "SCOPES": dict.fromkeys(CONFIGURATION["scopes"], "-"),
    },
    PASSWORD_HASHERS=["django_site.FewRounds"],
    ROOT_URLCONF="django_site",
    SECRET_KEY=CONFIGURATION["secret"],
    USE_TZ=True,
)
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
urlpatterns = [path("", include("oauth2_provider.urls"))]
application = get_wsgi_application()
