"""Who does it: facts that the system vouches for, never ``$USER``."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

_UNSET_LOGINUID = "4294967295"


class Actor(NamedTuple):
    """The operator of one command.

    ``sudo_uid`` is only asserted: it comes from the environment. ``machine`` is a hash of the machine id.
    ``remote_subject`` is whom the service of a remote profile takes the operator for.
    """

    uid: int
    name: str
    host: str
    loginuid: int | None
    sudo_uid: int | None
    machine: str | None
    profile: str
    remote_subject: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.host}"

    def facts(self) -> dict[str, object]:
        """Return what a record holds of it."""
        return {
            "uid": self.uid, "name": self.name, "host": self.host, "loginuid": self.loginuid,
            "sudo_uid": self.sudo_uid, "machine": self.machine, "profile": self.profile, "remote_subject": self.remote_subject,
        }  # fmt: skip


def user_name(uid: int) -> str:
    """Return the system's name of a user, its number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def identify(environment: Mapping[str, str], profile: str) -> Actor:
    """Find out who runs this command."""
    uid = os.getuid()
    login = _first_line("/proc/self/loginuid")
    sudo = environment.get("SUDO_UID", "")
    machine = _first_line("/etc/machine-id")
    return Actor(
        uid=uid,
        name=user_name(uid),
        host=re.sub(r"[^A-Za-z0-9_.-]", "_", os.uname().nodename),
        loginuid=int(login) if login and login.isdecimal() and login != _UNSET_LOGINUID else None,
        sudo_uid=int(sudo) if sudo.isascii() and sudo.isdecimal() and len(sudo) < 11 else None,
        machine=hashlib.sha256(f"tokenctl/machine/v1\0{machine}".encode()).hexdigest()[:32] if machine else None,
        profile=profile,
    )


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline(256).strip() or None
    except OSError:
        return None
