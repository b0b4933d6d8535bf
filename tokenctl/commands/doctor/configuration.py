"""The configuration: its directory, its profiles with their policies, the ceiling, and the profile that is meant."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from tokenctl import config
from tokenctl.commands.doctor.finding import Examined, Finding, fail, ok, shell
from tokenctl.errors import InvalidRequest, NotFound, TokenctlError

_CHECK = "config"


def configuration(examined: Examined) -> Iterator[Finding]:
    """Check that every profile, its policy and the ceiling are understood, and that the profile that is meant is there."""
    places = examined.places
    names = config.profile_names(places)
    broken = [*(finding for name in names for finding in _profile(examined, name)), *_ceiling(examined)]
    chosen = list(_chosen(examined))
    yield from broken + chosen
    if broken or chosen:
        return
    shown = places.shown(places.config)
    count = f"{len(names)} profile{'s' * (len(names) != 1)}"
    try:
        mode = stat.S_IMODE(os.stat(places.config).st_mode)
    except FileNotFoundError:
        yield ok(_CHECK, f"none at {shown}; profile {examined.profile}")
        return
    yield ok(_CHECK, f"{shown}, {mode:04o}, {count}, in use: {examined.profile}")


def _profile(examined: Examined, name: str) -> Iterator[Finding]:
    path = examined.places.profile(name)
    try:
        profile = config.load_profile(examined.places, name)
    except TokenctlError as error:
        yield fail(_CHECK, error, f"${{EDITOR:-vi}} {shell(path)}")  # moved aside, it would take its policy along
        return
    try:
        config.read_own_rules(examined.places, profile)
        if profile.backend != "local":
            _ = profile.service
    except TokenctlError as error:
        yield fail(_CHECK, error, f"${{EDITOR:-vi}} {shell(path)}")


def _ceiling(examined: Examined) -> Iterator[Finding]:
    try:
        config.read_ceiling(examined.places)
    except TokenctlError as error:
        finding = fail(_CHECK, error)
        yield finding._replace(mend=f"sudo {finding.mend}") if finding.mend and os.geteuid() else finding


def _chosen(examined: Examined) -> Iterator[Finding]:
    """The profile that a verb will work on."""
    given, environment = examined.context.profile, examined.environment
    try:
        name = examined.profile
        if name in config.profile_names(examined.places):
            return
        by = "--profile" if given else "TOKENCTL_PROFILE" if environment.get("TOKENCTL_PROFILE") else examined.places.current
        mend = f"tokenctl profile add {name}" if given else _unchoose(examined)
        yield fail(_CHECK, NotFound(f"{by} names the profile {name}, which is not there"), mend)
    except InvalidRequest as error:
        by = "--profile" if given else "TOKENCTL_PROFILE"
        yield fail(_CHECK, InvalidRequest(f"{by}: {error.message}; {error.hint}"), None if given else "unset TOKENCTL_PROFILE")
    except TokenctlError as error:
        yield fail(_CHECK, error, _unchoose(examined))


def _unchoose(examined: Examined) -> str:
    return "unset TOKENCTL_PROFILE" if examined.environment.get("TOKENCTL_PROFILE") else "tokenctl profile use local"
