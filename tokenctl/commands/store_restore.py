"""``store restore``: a backup examined, told of, and put in place of the present store."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tokenctl import age, files, terminal
from tokenctl.backends.base import Backend
from tokenctl.backends.local import examining, restoring
from tokenctl.commands import backup_keys
from tokenctl.commands.context import Context
from tokenctl.commands.inputs import open_file
from tokenctl.errors import InvalidConfiguration, InvalidRequest, TemporarilyUnavailable, TokenctlError
from tokenctl.formats.archive import Manifest, Unpacked
from tokenctl.model.rotation import SERVED_STATES
from tokenctl.model.times import format_distance, format_instant
from tokenctl.render.escape import escape
from tokenctl.secret import Secret
from tokenctl.store import copies, schema

_LONGEST_REASON = 200  # characters
_RISK = "with --keep-active, tokens that were revoked after the backup are accepted again: nothing here tells which"


def restore(
    context: Context, file: str, *, identities: tuple[str, ...], passphrase: backup_keys.Passphrase, keep_active: bool,
    reason: str | None, yes: bool, dry_run: bool,
) -> int:  # fmt: skip
    """Examine a backup, ask where records would be lost, and let it be the store; or say what that would come to.

    Raises:
        InvalidRequest: unreadable, no identity and no passphrase, or not confirmed (exit 2).
        AccessDenied: nothing given opens it, or its root secret is nowhere (exit 4).
        Conflict: another store or another root secret is here (exit 6).
        TemporarilyUnavailable: busy, or no room (exit 7).
        InvalidConfiguration: an identity file open to others, or a backup of a newer tokenctl (exit 9).
        IntegrityError: it does not check out (exit 10).
    """
    if identities and passphrase.given:
        raise InvalidRequest("an identity and a passphrase: a file is opened by one of them", hint="leave one of them out")
    if reason is not None and (not reason.strip() or len(reason) > _LONGEST_REASON):
        raise InvalidRequest(f"--reason: is empty or longer than {_LONGEST_REASON} characters")
    known = backup_keys.identities(identities)
    source = _Source(file)
    try:
        with context.backend() as backend, restoring.room(backend.journal) as path:
            manifest, root = _receive(context, source, path, known, passphrase)
            backup = examining.examine(backend.journal, path, manifest, root)
            try:
                _restore(context, backend, backup, keep_active=keep_active, reason=reason, yes=yes, dry_run=dry_run)
            finally:
                backup.store.close()
    finally:
        source.close()
    return 0


class _Source:
    """The file, or standard input; its beginning is looked at before it is read."""

    def __init__(self, file: str) -> None:
        if file == "-" and terminal.is_terminal(0):
            raise InvalidRequest("a backup is not typed at a terminal", hint="tokenctl store restore FILE")
        self._descriptor = 0 if file == "-" else open_file(file)
        self._what = "standard input" if file == "-" else file
        self.head = b""
        while len(self.head) < age.HEAD_LENGTH:
            part = self._read(age.HEAD_LENGTH - len(self.head))
            if not part:
                break
            self.head += part
        self._kept = self.head

    def read(self, size: int = -1) -> bytes:
        if self._kept or size == 0:
            part, self._kept = (self._kept[:size], self._kept[size:]) if size >= 0 else (self._kept, b"")
            return part if size >= 0 else part + self._rest()
        return self._read(size) if size >= 0 else self._rest()

    def _rest(self) -> bytes:
        parts = []
        while part := self._read(1024 * 1024):
            parts.append(part)
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._descriptor, size)
        except OSError as error:
            raise InvalidRequest(f"cannot read {self._what}: {files.cause_of(error)}") from None

    def close(self) -> None:
        if self._descriptor:
            os.close(self._descriptor)


def _receive(
    context: Context, source: _Source, path: str, identities: Sequence[Any], passphrase: backup_keys.Passphrase
) -> tuple[Manifest, Secret | None]:
    """Decrypt into the copy's file; its root secret stays in memory."""
    kind = age.kind_of(source.head)
    if kind is None:
        raise InvalidRequest("the file is not encrypted with age: it is no backup", hint="tokenctl store backup FILE makes one")
    if kind == "recipients" and not identities:
        raise InvalidRequest("the backup is encrypted to a recipient", hint="name the identity: --identity FILE")
    if kind == "passphrase" and identities:
        raise InvalidRequest("the backup is encrypted with a passphrase", hint="--passphrase-file F, or typed at a terminal")
    descriptor = copies.create(path)
    try:
        unpacked = Unpacked(partial(_begin, os.path.dirname(path)), partial(files.write_all, descriptor))
        try:
            if kind == "passphrase":
                age.decrypt_with_passphrase(source, unpacked, backup_keys.known_passphrase(context, passphrase))
            else:
                age.decrypt(source, unpacked, identities)
        except OSError as error:
            raise files.unusable(path, error) from None
        return unpacked.end(), unpacked.root
    finally:
        os.close(descriptor)


def _begin(directory: str, manifest: Manifest, size: int) -> None:
    """Refuse before the first byte of a store is written what cannot come to an end."""
    if manifest.schema > schema.VERSION:
        raise InvalidConfiguration(
            f"the backup was made by a newer tokenctl (schema {manifest.schema}, this one knows {schema.VERSION})",
            hint="upgrade tokenctl",
        )
    facts = os.statvfs(directory)
    if size > facts.f_bavail * facts.f_frsize:
        raise TemporarilyUnavailable("the store's medium has no room for the backup", hint="make room and run again")


def _restore(
    context: Context, backend: Backend, backup: examining.Backup, *, keep_active: bool, reason: str | None, yes: bool,
    dry_run: bool,
) -> None:  # fmt: skip
    journal, console = backend.journal, context.console
    if dry_run:
        done = restoring.rehearse(journal, backup, reason=reason, keep_active=keep_active)
        _tell(context, backend.name, backup, done, dry_run=True)
        return
    with examining.present(journal, backup) as there:
        for line in _preview(context, backend, backup, there, keep_active=keep_active):
            console.chat(line)
        loses = there.loses
    if loses and not yes:
        console.confirm("Replace the present store by this backup?", 1, "restored")
    done = restoring.carry_out(journal, backup, reason=reason, keep_active=keep_active, replacing=loses)
    _publish(context, backend)
    if keep_active and not done.believed:
        console.warn(_RISK)
    if backup.found.lacking:
        console.notice(f"root secret: {backup.found.place.shown} (0600), from the backup")
    elif backup.found.place.name != backup.recorded_place:
        console.notice(f"root secret: {backup.found.place.shown}; the backup says {backup.recorded_place}")
    _tell(context, backend.name, backup, done, dry_run=False)


def _publish(context: Context, backend: Backend) -> None:
    """Let verifiers fetch the keys of the restored store."""
    keys = backend.signing_keys
    try:
        if keys is not None and keys.publishes:
            keys.mend()
    except TokenctlError as error:
        context.console.warn(f"the public keys are not those of the restored store yet: {error.message}")


def _preview(
    context: Context, backend: Backend, backup: examining.Backup, there: examining.Present, *, keep_active: bool
) -> list[str]:
    manifest = backup.manifest
    made = f"{format_instant(manifest.made_at)}, {format_distance(manifest.made_at, context.now)}"
    lines = [
        f"profile {backend.name} ({backend.place}): restore store {backup.store_id}",
        f"made     {made}; {manifest.records:,} records, {manifest.tokens:,} tokens",
        f"lost     {_lost(there.lost)}",
    ]
    if there.fault is not None:
        lines.append(f"present  does not check out, nothing is taken over from it: {there.fault}")
    if keep_active and there.view is None:
        lines.append(_RISK)
    return lines


def _lost(lost: examining.Lost) -> str:
    if lost.records is None:
        return "how many records is not known"
    return f"records {lost.first:,} to {lost.last:,}" if lost.records else "no record that is known of"


def _tell(context: Context, profile: str, backup: examining.Backup, done: restoring.Done, *, dry_run: bool) -> None:
    console = context.console
    if done.quarantine is not None:
        console.warn(f"the store is quarantined, and stays so: {done.quarantine}")
    if done.fault is not None:
        console.warn(f"nothing was taken over from the store before it, which does not check out: {done.fault}")
    if done.behind is not None:
        console.warn(f"what was revoked is taken over only as far as the store before it knew: {done.behind}")
    _warn_of_keys(context, done)
    if done.unfit is not None:
        told = f"a signed head of {done.unfit:,} records left the store before this: the restored log does not continue it"
        console.warn(f"{told}, and who holds it will be told so; hand out a new one: {console.command} audit checkpoint")
    if console.machine:
        console.document(_document(context, profile, backup, done, dry_run=dry_run))
        return
    say: Callable[[str], None] = console.answer if dry_run else console.result
    if not console.on_terminal:
        lost = "-" if done.lost.records is None else str(done.lost.records)
        counts = (backup.manifest.records, lost, done.suspended, done.inherited.revoked)
        word = "would-restore" if dry_run else "restored"
        columns = (word, backup.store_id, format_instant(backup.manifest.made_at), *map(str, counts), escape(done.aside or "-"))
        say("\t".join(columns))
        return
    would = "would be " if dry_run else ""
    say(f"{would}restored: store {backup.store_id} as of {format_instant(backup.manifest.made_at)}")
    for line in _facts(context, done, would):
        say(console.fold(f"  {line[0]:<11}", line[1]))
    if done.suspended and not dry_run:
        told = f"{console.command} audit log --operation token.suspend --request-id {done.request_id} -o jsonl"
        console.chat(f"next    {console.command} list --state suspended")
        console.chat(f"        {told} | jq -r .target | {console.command} revoke - --lift")


def _warn_of_keys(context: Context, done: restoring.Done) -> None:
    """Name the keys that are in service again and of which nothing here tells whether they still should be."""
    doubtful = done.inherited.retired if done.believed else [kid for kid, _, state in done.keys if state in SERVED_STATES]
    if doubtful:
        was = "retired since the backup" if done.believed else "as they were, whatever became of them since"
        command = f"{context.console.command} rotate-keys --compromised KID"
        context.console.warn(f"keys in service again, {was}: {', '.join(doubtful)}; if one leaked: {command}")


def _facts(context: Context, done: restoring.Done, would: str) -> list[tuple[str, str]]:
    inherited = done.inherited
    count = f"{done.suspended:,} token{'s' * (done.suspended != 1)}"
    lines = [("lost", _lost(done.lost)), ("suspended", f"{count} {would}suspended until revoke --lift")]
    if inherited.revoked or inherited.suspended or inherited.uses:
        told = f"{inherited.revoked:,} revocations, {inherited.suspended:,} suspensions, {inherited.uses:,} uses"
        lines.append(("taken over", f"from the store before it: {told}"))
    if inherited.compromised:
        lines.append(("compromised", ", ".join(inherited.compromised)))
    if done.log_origin is not None:
        lines.append(("log", f"the same origin as before: {done.log_origin}"))
    if done.aside is not None:
        lines.append(("kept", context.places.shown(done.aside)))
    return lines


def _document(
    context: Context, profile: str, backup: examining.Backup, done: restoring.Done, *, dry_run: bool
) -> dict[str, object]:
    manifest, inherited = backup.manifest, done.inherited
    return {
        "action": "restore", "profile": profile, "dry_run": dry_run, "request_id": None if dry_run else done.request_id,
        "store_id": backup.store_id, "made_at": format_instant(manifest.made_at), "records": manifest.records,
        "tokens": manifest.tokens, "lost": {"first": done.lost.first, "last": done.lost.last, "records": done.lost.records},
        "suspended": done.suspended,
        "taken_over": {
            "revoked": inherited.revoked, "suspended": inherited.suspended, "uses": inherited.uses,
            "compromised": list(inherited.compromised),
        },
        "keys": [
            {"kid": kid, "alg": alg, "state": state, "retired_since": kid in inherited.retired} for kid, alg, state in done.keys
        ],
        "root_secret_place": backup.found.place.name, "root_secret": "written" if backup.found.lacking else "kept",
        "kept_aside": done.aside, "log_origin": done.log_origin,
        "quarantine": done.quarantine, "warnings": list(context.console.warnings),
    }  # fmt: skip

