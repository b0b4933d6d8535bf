"""Environment variables that bend this program, by name and effect; a value is never shown, it may be a secret."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tokenctl.commands.doctor.finding import Examined, Finding, ok, warn

_CHECK = "environment"

# What lets others' code, files or settings into this process.
_BENDS = {
    "PYTHONPATH": "Python looks for modules there first",
    "PYTHONHOME": "Python takes its own library from there",
    "PYTHONUSERBASE": "Python takes the user's packages from there",
    "PYTHONPLATLIBDIR": "Python takes its own library from there",
    "PYTHONPYCACHEPREFIX": "Python takes compiled modules from there",
    "PYTHONWARNINGS": "may name a class to import",
    "PYTHONBREAKPOINT": "names code to call",
    "PYTHONINSPECT": "asks for a prompt after the program",
    "PYTHONSTARTUP": "names code for a prompt",
    "PYTHONEXECUTABLE": "changes what Python believes to be its program",
    "PYTHON_KEYRING_BACKEND": "names the keyring to use; one that is not admitted is refused",
    "PYTHONDONTWRITEBYTECODE": "without .pyc files every start takes twice as long",
    "PYTHONDEVMODE": "every start takes longer",
    "PYTHONTRACEMALLOC": "every start takes longer",
    "PYTHONMALLOC": "every start takes longer",
    "PYTHONDUMPREFS": "every start takes longer",
    "PYTHONPROFILEIMPORTTIME": "every import is told on stderr",
    "PYTHONVERBOSE": "every import is told on stderr",
    "PYTHONDEBUG": "the parser talks on stderr",
    "LD_PRELOAD": "loads code into every program",
    "LD_AUDIT": "loads code into every program",
    "LD_LIBRARY_PATH": "libraries are taken from there first",
    "DYLD_INSERT_LIBRARIES": "loads code into every program",
    "DYLD_LIBRARY_PATH": "libraries are taken from there first",
    "DYLD_FRAMEWORK_PATH": "libraries are taken from there first",
    "GCONV_PATH": "loads code to convert text",
    "OPENSSL_CONF": "may load code into OpenSSL",
    "OPENSSL_MODULES": "OpenSSL takes its modules from there",
    "OPENSSL_ENGINES": "OpenSSL takes its engines from there",
    "SSL_CERT_FILE": "other certificates are trusted by inspect --jwks URL",
    "SSL_CERT_DIR": "other certificates are trusted by inspect --jwks URL",
    "SQLITE_TMPDIR": "SQLite puts temporary files there",
    "FAKETIME": "another clock is shown to programs",
}  # fmt: skip
_KEYRING_PROPERTY = "KEYRING_PROPERTY_"  # what the keyring library takes from the environment for any of its backends
# What leads to the root secret, by the place where it lies.
_LEADS = {
    "keyring": ("DBUS_SESSION_BUS_ADDRESS", "leads to the keyring, where the root secret lies"),
    "credential": ("CREDENTIALS_DIRECTORY", "leads to the root secret"),
}
# What others would follow and this program does not.
_IGNORED = ("SSLKEYLOGFILE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_BASES = {"XDG_CONFIG_HOME": "configuration", "XDG_DATA_HOME": "stores", "XDG_STATE_HOME": "anchors"}
_OURS = {
    "TOKENCTL_PROFILE": "chooses the profile",
    "TOKENCTL_CONFIG": "moves the configuration",
    "TOKENCTL_CREDENTIAL_FILE": "names a credential, which a local store has no use for",
}  # fmt: skip
_OF_A_RUN = {"TOKENCTL_TOKEN": "holds a token: every process started from here gets it", "TOKENCTL_TOKEN_ID": "names a token"}


def environment(examined: Examined) -> Iterator[Finding]:
    """Name what is set and bends us; what merely moves things, or is ignored, is told in one line."""
    given = {name: value for name, value in examined.environment.items() if value}
    bending = list(_bending(given))
    yield from bending
    effects = [f"{name} {effect}" for name, effect in _OURS.items() if name in given]
    effects += [f"{name} moves the {what}" for name, what in _BASES.items() if os.path.isabs(given.get(name, ""))]
    if not os.path.isabs(examined.environment.get("HOME", "")):
        effects.append("HOME is not set: the home directory is the user database's")
    name, effect = _LEADS.get(examined.root_place.name if examined.root_place else "", ("", ""))
    if name in given:
        effects.append(f"{name} {effect}")
    if "CI" in given:
        effects.append("CI lets nothing be asked")
    ignored = [name for name in _IGNORED if name in given or name.lower() in given]
    effects += [f"{name} is ignored" for name in ignored]
    if effects or not bending:
        yield ok(_CHECK, "; ".join(effects) or "nothing in it bends this program")


def _bending(given: dict[str, str]) -> Iterator[Finding]:
    told = [(name, effect) for name, effect in (_BENDS | _OF_A_RUN).items() if name in given and name != "TOKENCTL_TOKEN_ID"]
    told += [
        (name, f"is relative and ignored: the {what} lie below HOME")
        for name, what in _BASES.items()
        if name in given and not os.path.isabs(given[name])
    ]
    if "TOKENCTL_CONFIG" in given and not os.path.isabs(given["TOKENCTL_CONFIG"]):
        told.append(("TOKENCTL_CONFIG", "is relative: every working directory has another configuration"))
    told += [
        (name, "would bend the keyring: it is refused")
        for name in sorted(given)
        if name.startswith(_KEYRING_PROPERTY) and name.isascii() and name.isidentifier()
    ]
    known = _OURS.keys() | _OF_A_RUN.keys()
    told += [(name, "is none of ours: it has no effect") for name in sorted(given) if _is_ours(name) and name not in known]
    for name, effect in told:
        yield warn(_CHECK, f"{name}: {effect}", f"unset {name}")


def _is_ours(name: str) -> bool:
    """Whether a name is in our room and can be typed to ``unset``."""
    return name.startswith("TOKENCTL_") and name.isascii() and name.isidentifier()
