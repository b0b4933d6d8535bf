"""Profiles and places: one TOML file a profile, and the directories of configuration, data and state.

Reading creates nothing. A profile names services and places, never a command, a plugin or a secret. What it says of policy
is kept as it stands and read where something is issued: a mistake in a rule must not keep anyone from revoking.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from tokenctl import files
from tokenctl.errors import Conflict, InvalidConfiguration, InvalidRequest, NotFound

if TYPE_CHECKING:
    from tokenctl.model.policy import Policy  # only what issues needs them
    from tokenctl.model.review import Review
    from tokenctl.model.rotation import Rotation
    from tokenctl.model.rules import Rules
    from tokenctl.model.service import ServiceSettings
    from tokenctl.model.trust import Trusted

DEFAULT_PROFILE = "local"
CEILING = "/etc/tokenctl/policy.toml"
BACKENDS = ("local", "oauth2", "openbao")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}")
_FILE_LIMIT = 64 * 1024  # bytes
_STRINGS = ("backend", "issuer", "default_audience", "eddsa_name", "jwks_file", "keyring_backend")
_OTHERS = ("verifiers", "rotation", "review", "service", "trust")
_POLICY = ("default_lifetime", "max_lifetime", "rule")


class Profile(NamedTuple):
    """What is told of one profile.

    Attributes:
        issuer: ``iss`` of its JWTs; ``None`` stands for ``urn:tokenctl:<store id>``.
        default_audience: ``aud`` where a JWT is asked for without one.
        eddsa_name: How the header of an Ed25519 JWT names its algorithm: ``EdDSA`` (RFC 8037) or ``Ed25519`` (RFC 9864).
        jwks_file: Where its public keys are written for verifiers, an absolute path.
        keyring_backend: The class of a keyring that is admitted beside those of the operating systems.
        verifiers: URLs at which verifiers show the keys that they know.
        rotation_table: What its file says of the rotation of keys, as it stands there.
        review_table: What its file says of what a review finds, as it stands there.
        service_table: What its file says of the remote service, as it stands there.
        trust_tables: What its file says of issuers that it trusts, as it stands there.
        tables: What its file says of policy, as it stands there; ``None`` for nothing.
    """

    name: str
    backend: str = "local"
    issuer: str | None = None
    default_audience: str | None = None
    eddsa_name: str = "EdDSA"
    jwks_file: str | None = None
    keyring_backend: str | None = None
    verifiers: tuple[str, ...] = ()
    rotation_table: Mapping[str, object] | None = None
    review_table: Mapping[str, object] | None = None
    service_table: Mapping[str, object] | None = None
    trust_tables: tuple[Mapping[str, object], ...] = ()
    tables: Mapping[str, object] | None = None

    def settings(self) -> dict[str, object]:
        """Return what its file holds beside its tables."""
        settings: dict[str, object] = {name: getattr(self, name) for name in _STRINGS}
        if self.eddsa_name == "EdDSA":
            del settings["eddsa_name"]
        if self.verifiers:
            settings["verifiers"] = list(self.verifiers)
        if self.service_table:
            settings["service"] = dict(self.service_table)
        return {name: value for name, value in settings.items() if value is not None}

    @property
    def rotation(self) -> "Rotation":
        """How its signing keys change. Raises InvalidConfiguration (exit 9)."""
        from tokenctl.model.rotation import read_rotation

        rotation = read_rotation(self.rotation_table or {})
        if isinstance(rotation, str):
            raise InvalidConfiguration(f"the file of profile {self.name}: {rotation}", hint="mend it with an editor")
        return rotation

    @property
    def service(self) -> "ServiceSettings":
        """Where its remote service is, and how it is spoken to. Raises InvalidConfiguration (exit 9)."""
        from tokenctl.model.service import read_service

        service = read_service(self.service_table or {})
        if isinstance(service, str):
            raise InvalidConfiguration(f"the file of profile {self.name}: {service}", hint="mend it with an editor")
        return service

    @property
    def trusted(self) -> "tuple[Trusted, ...]":
        """Whose JWTs it believes beside its own. Raises InvalidConfiguration (exit 9)."""
        from tokenctl.model.trust import read_trust

        trusted = read_trust(self.trust_tables)
        if isinstance(trusted, str):
            raise InvalidConfiguration(f"the file of profile {self.name}: {trusted}", hint="mend it with an editor")
        return trusted

    @property
    def review(self) -> "Review":
        """From where on ``audit review`` calls something a mistake. Raises InvalidConfiguration (exit 9)."""
        from tokenctl.model.review import read_review

        review = read_review(self.review_table or {})
        if isinstance(review, str):
            raise InvalidConfiguration(f"the file of profile {self.name}: {review}", hint="mend it with an editor")
        return review


class Places:
    """Where things lie, by the XDG base directory specification, on every system.

    Configuration (profiles, root secrets), data (stores) and state (anchors) lie apart, so that one lost or copied
    directory is not all of it. Nothing in the environment moves the ceiling.
    """

    def __init__(self, environment: Mapping[str, str], ceiling: str = CEILING) -> None:
        self._environment = environment
        self.ceiling = ceiling

    @cached_property
    def _home(self) -> str:
        home = self._environment.get("HOME", "")
        if not os.path.isabs(home):
            import pwd

            try:
                home = pwd.getpwuid(os.geteuid()).pw_dir
            except KeyError:
                home = ""
        if not os.path.isabs(home):
            raise InvalidConfiguration(
                "no home directory is known", hint="set HOME, or XDG_CONFIG_HOME, XDG_DATA_HOME and XDG_STATE_HOME"
            )
        return home

    def _base(self, variable: str, default: str) -> str:
        base = self._environment.get(variable, "")
        # The specification says that a relative path is ignored.
        return os.path.join(base if os.path.isabs(base) else os.path.join(self._home, default), "tokenctl")

    @cached_property
    def config(self) -> str:
        chosen = self._environment.get("TOKENCTL_CONFIG")
        return os.path.abspath(chosen) if chosen else self._base("XDG_CONFIG_HOME", ".config")

    def profile(self, name: str) -> str:
        return os.path.join(self.config, "profiles", f"{name}.toml")

    @property
    def current(self) -> str:
        return os.path.join(self.config, "current")

    def root_secret(self, profile: str) -> str:
        return os.path.join(self.config, "keys", profile)

    def store(self, profile: str) -> str:
        return os.path.join(self._base("XDG_DATA_HOME", os.path.join(".local", "share")), profile, "store.db")

    def anchor(self, profile: str) -> str:
        return os.path.join(self._base("XDG_STATE_HOME", os.path.join(".local", "state")), profile, "head")

    def cache(self, profile: str) -> str:
        return os.path.join(self._base("XDG_CACHE_HOME", ".cache"), profile)

    def owns(self, path: str, profile: str) -> bool:
        """Whether a path lies among tokenctl's own files, of whatever profile."""
        ours = [self.config, os.path.dirname(self.ceiling)]
        ours += [os.path.dirname(os.path.dirname(at(profile))) for at in (self.store, self.anchor)]
        real = os.path.realpath(path)
        return any(os.path.commonpath((real, os.path.realpath(folder))) == os.path.realpath(folder) for folder in ours)

    def shown(self, path: str) -> str:
        """Return a path for a person, with ``~`` for the home directory."""
        home = self._environment.get("HOME", "")
        if len(home) > 1 and path.startswith(f"{home}/"):
            return f"~{path[len(home) :]}"
        return path


def check_name(name: str) -> str:
    """Return a profile's name, which is also part of a path.

    Raises:
        InvalidRequest: not admitted (exit 2).
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest("not a profile name", hint="letters, digits and _ . : - are admitted, at most 64")
    return name


def current_name(places: Places, environment: Mapping[str, str]) -> str:
    """Return the profile meant where ``--profile`` is not given: ``TOKENCTL_PROFILE``, ``current``, ``local``."""
    if environment.get("TOKENCTL_PROFILE"):
        return check_name(environment["TOKENCTL_PROFILE"])
    data = files.read_owned(places.current, limit=_FILE_LIMIT)
    if data is None:
        return DEFAULT_PROFILE
    name = data.decode("ascii", "replace").strip()
    if not _NAME.fullmatch(name):
        raise InvalidConfiguration(f"{places.current} names no profile", hint="tokenctl profile use local")
    return name


def profile_names(places: Places) -> list[str]:
    """Return the names of all profiles, the built-in ``local`` included."""
    try:
        entries = os.listdir(os.path.join(places.config, "profiles"))
    except FileNotFoundError:
        entries = []
    except OSError as error:
        raise files.unusable(places.config, error) from None
    names = {entry[:-5] for entry in entries if entry.endswith(".toml") and _NAME.fullmatch(entry[:-5])}
    return sorted(names | {DEFAULT_PROFILE})


def sharing(places: Places, name: str, jwks_file: str) -> list[str]:
    """Return the other profiles whose public keys are written to the same file; one whose file is not understood has none."""
    found = []
    for other in profile_names(places):
        with suppress(InvalidConfiguration, NotFound):
            path = load_profile(places, other).jwks_file if other != name else None
            if path is not None and os.path.realpath(path) == os.path.realpath(jwks_file):
                found.append(other)
    return found


def load_profile(places: Places, name: str) -> Profile:
    """Read a profile.

    Raises:
        NotFound: no such profile (exit 5).
        InvalidConfiguration: its file is unreadable, too open or not understood (exit 9).
    """
    check_name(name)
    path = places.profile(name)
    data = files.read_owned(path, limit=_FILE_LIMIT)
    if data is None:
        if name == DEFAULT_PROFILE:
            return Profile(name=name)
        others = ", ".join(profile_names(places))
        raise NotFound(f"no profile {name}", hint=f"profiles: {others}; make it: tokenctl profile add {name}")
    files.check_parents(os.path.dirname(path))
    return _parse(name, path, data)


def load_policy(places: Places, profile: Profile) -> "Policy":
    """Read what a profile and the machine's ceiling allow to be issued.

    Raises:
        InvalidConfiguration: one of them is not understood, or the ceiling is not root's alone (exit 9).
    """
    from tokenctl.model.policy import Policy

    ceiling = read_ceiling(places)
    return Policy(read_own_rules(places, profile), ceiling)


def read_own_rules(places: Places, profile: Profile) -> "Rules | None":
    """Return what a profile's file says of policy; raises like :func:`load_policy`."""
    if profile.tables is None:
        return None
    from tokenctl.model.policy_file import read_rules

    return read_rules(profile.tables, places.profile(profile.name))


def read_ceiling(places: Places) -> "Rules | None":
    """Return what the machine's ceiling says; raises like :func:`load_policy`."""
    data = files.read_system(places.ceiling, limit=_FILE_LIMIT)
    if data is None:
        return None
    from tokenctl.model.policy_file import read_rules

    tables = _tables(places.ceiling, data)
    _refuse_unknown(places.ceiling, tables, _POLICY)
    return read_rules(tables, places.ceiling, place="ceiling")


def _tables(path: str, data: bytes) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # also bytes that are no text, and a number of thousands of digits
        place = re.search(r"\(at (line [0-9]+, column [0-9]+)\)", str(error))
        where = f": {place[1]}" if place else ""
    except RecursionError:
        where = ": nested too deeply"
    raise InvalidConfiguration(f"{path} is not TOML{where}", hint="mend it with an editor")


def _refuse_unknown(path: str, settings: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InvalidConfiguration(f"{path} has an unknown setting: {unknown[0]}", hint=f"known: {', '.join(known)}")


def _table(path: str, name: str, value: object) -> dict[str, object] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidConfiguration(f"{path}: {name} is written [{name}]")
    return value


def _parse(name: str, path: str, data: bytes) -> Profile:
    settings = _tables(path, data)
    _refuse_unknown(path, settings, _STRINGS + _OTHERS + _POLICY)
    tables = {setting: settings.pop(setting) for setting in _POLICY if setting in settings}
    verifiers = settings.pop("verifiers", [])
    rotation, review, service = (_table(path, table, settings.pop(table, None)) for table in ("rotation", "review", "service"))
    if not isinstance(verifiers, list) or not all(isinstance(url, str) and url and url.isprintable() for url in verifiers):
        raise InvalidConfiguration(f"{path}: verifiers is a list of URLs")
    trust = settings.pop("trust", [])
    if not isinstance(trust, list) or not all(isinstance(table, dict) for table in trust):
        raise InvalidConfiguration(f"{path}: trust is written [[trust]]")
    strings = {setting: value for setting, value in settings.items() if isinstance(value, str) and value and value.isprintable()}
    if len(strings) < len(settings):
        wrong = min(settings.keys() - strings.keys())
        raise InvalidConfiguration(f"{path}: {wrong} is not a printable text")
    profile = Profile(
        name=name, tables=tables or None, verifiers=tuple(verifiers), rotation_table=rotation, review_table=review,
        service_table=service, trust_tables=tuple(trust), **strings,
    )
    if profile.backend not in BACKENDS:
        raise InvalidConfiguration(f"{path} names an unknown backend", hint=f"known: {', '.join(BACKENDS)}")
    if profile.eddsa_name not in ("EdDSA", "Ed25519"):
        raise InvalidConfiguration(f"{path}: eddsa_name is EdDSA or Ed25519")
    if profile.jwks_file is not None and not os.path.isabs(profile.jwks_file):
        raise InvalidConfiguration(f"{path}: jwks_file is an absolute path")
    return profile


def save_profile(places: Places, profile: Profile) -> None:
    """Write a profile's settings; what its file says of policy stays, to the letter.

    Raises:
        Conflict: its file says otherwise (exit 6).
        InvalidConfiguration: it cannot be written (exit 9); TemporarilyUnavailable where the medium is full (exit 7).
    """
    import tomli_w

    path = places.profile(profile.name)
    data = files.read_owned(path, limit=_FILE_LIMIT) or b""
    there = _tables(path, data)
    settings = profile.settings()
    if any(there.get(name, value) != value for name, value in settings.items()):
        raise Conflict(f"{path} says otherwise", hint="change it with an editor")
    added = {name: value for name, value in settings.items() if name not in there}
    # A plain setting stands in front: behind a table it would belong to that. A table stands behind everything.
    plain, tables = (
        tomli_w.dumps({name: value for name, value in added.items() if isinstance(value, dict) is of_tables}).encode()
        for of_tables in (False, True)
    )
    _write(path, b"\n".join(part for part in (plain, data, tables) if part))


def save_trust(places: Places, name: str, trusted: "Trusted") -> None:
    """Write an issuer that is trusted into a profile's file, in place of what it says of that issuer; the rest stays.

    Raises:
        Conflict: its file is written in a way that only an editor can change (exit 6).
        InvalidConfiguration: it cannot be written (exit 9).
    """
    import tomli_w

    path = places.profile(name)
    data = _without_trust(path, files.read_owned(path, limit=_FILE_LIMIT) or b"", trusted.issuer)
    _write(path, data.rstrip() + b"\n" * 2 * bool(data.strip()) + tomli_w.dumps({"trust": [trusted.table()]}).encode())


def remove_trust(places: Places, name: str, issuer: str) -> None:
    """Take an issuer out of those that a profile's file trusts; raises like :func:`save_trust`."""
    path = places.profile(name)
    data = files.read_owned(path, limit=_FILE_LIMIT) or b""
    _write(path, _without_trust(path, data, issuer))


def _without_trust(path: str, data: bytes, issuer: str) -> bytes:
    """Return a profile's file without its table of an issuer, everything else to the letter."""
    parts = re.split(rb"(?m)^(?=[ \t]*\[)", data)
    left = [part for part in parts if not _is_trust(path, part, issuer)]
    without, before = b"".join(left), _tables(path, data)
    trust = before.pop("trust", [])
    kept = [table for table in trust if table.get("issuer") != issuer] if isinstance(trust, list) else trust
    if _tables(path, without) != before | ({"trust": kept} if kept else {}):
        raise Conflict(f"{path} writes what it trusts in a way of its own", hint="change it with an editor")
    return without


def _is_trust(path: str, part: bytes, issuer: str) -> bool:
    if not part.lstrip().startswith(b"[[trust]]"):
        return False
    try:
        tables = _tables(path, part).get("trust")
    except InvalidConfiguration:
        return False
    return isinstance(tables, list) and [table.get("issuer") for table in tables] == [issuer]


def select_profile(places: Places, name: str) -> None:
    """Make a profile the one meant where none is named."""
    _write(places.current, f"{name}\n".encode("ascii"))


def _write(path: str, data: bytes) -> None:
    files.make_directory(os.path.dirname(path))
    try:
        files.replace_owned(path, data)
    except OSError as error:
        raise files.unusable(path, error) from None


def delete_profile(places: Places, name: str) -> None:
    """Remove a profile's file; its store and root secret stay.

    Raises:
        NotFound: there is none (exit 5).
    """
    try:
        os.unlink(places.profile(name))
        files.sync_directory(os.path.dirname(places.profile(name)))
    except FileNotFoundError:
        raise NotFound(f"no profile file for {name}") from None
    except OSError as error:
        raise files.unusable(places.profile(name), error) from None
