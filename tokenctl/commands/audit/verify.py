"""``audit verify``: whether log and state check out; a no quarantines the store."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from tokenctl import files
from tokenctl.audit import verified as remembered
from tokenctl.audit.archived import compare
from tokenctl.audit.verdict import UNANCHORED, KnownHead, Report
from tokenctl.audit.verify import EVERYTHING, Extent, verify
from tokenctl.backends.base import Backend
from tokenctl.backends.local.log_key import exported
from tokenctl.backends.local.view import View
from tokenctl.commands.audit import verdict_screen
from tokenctl.commands.audit.archives import opened
from tokenctl.commands.audit.known_heads import Witness, read, verified
from tokenctl.commands.context import Context
from tokenctl.errors import IntegrityError, InvalidConfiguration, InvalidRequest, TemporarilyUnavailable, TokenctlError
from tokenctl.formats.note import VerifierKey
from tokenctl.model.record import Event
from tokenctl.render.progress import Progress

if TYPE_CHECKING:
    from tokenctl.formats.log_archive import Archive


class Order(NamedTuple):
    """What ``audit verify`` was asked to check, and against what."""

    full: bool = False
    state: bool = False
    quick: bool = False
    known_heads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    require_anchor: bool = False
    archives: tuple[str, ...] = ()

    @property
    def extent(self) -> Extent:
        """What is checked where nothing was verified before; without a word, all."""
        return Extent(log=self.full or not self.state, state=self.state or not self.full)


def verify_log(context: Context, order: Order) -> int:
    """Check the log, the rows, or both; return 0 or 10.

    Raises:
        InvalidRequest: options that contradict each other, or a known head that is none of this log (exit 2).
        IntegrityError: a known head that none of the log's keys signed, or an archive that was cut, edited or is of another
            store (exit 10); the store is not to blame.
    """
    if order.quick and (order.full or order.state):
        raise InvalidRequest("--quick goes with neither --full nor --state", hint="--full --state is what no option checks")
    if order.keys and not order.known_heads:
        raise InvalidRequest("--key goes with --known-head", hint="tokenctl audit verify --known-head FILE --key VKEY")
    brought = [VerifierKey.parse(text) for text in order.keys]
    witness = Witness(read(order.known_heads), brought)
    with opened(order.archives) as archives, context.backend() as backend:
        report = examine(context, backend, order, witness, archives)
        if report is None:
            report = Report(verdict=UNANCHORED)
        if order.require_anchor:
            report.require_anchor()
        verdict_screen.show(context, report)
    return 0 if report.accepted else IntegrityError.exit_code


def examine(
    context: Context, backend: Backend, order: Order | None = None, witness: Witness | None = None,
    archives: tuple[Archive, ...] = (),
) -> Report | None:  # fmt: skip
    """Check a store, and quarantine one that does not check out; ``None`` where there is no store."""
    order = order or Order()
    with backend.journal.reading() as view:
        if view is None:
            if archives or (witness is not None and witness.heads):
                raise backend.journal.absent()
            return None
        known, refused = _known(view, witness)
        extent = _since_last(context, view, backend) if order.quick else order.extent
        before = None if order.quick else _last(context, view, backend)
        fitting, unfit = _fitting(view, archives)
        refused = refused or unfit
        extent = extent._replace(archives=fitting)
        shown = Progress(context.console, "checked", view.head.size)
        try:
            report = verify(
                view.store, view.rows, view.head, head_intact=view.head_intact, judged=view.quarantine,
                anchored=view.anchor is not None, extent=extent, known=known, remembered=before,
                progress=lambda done, of: shown.reach(done),
            )  # fmt: skip
        finally:
            shown.finish()
        report.exported = exported(view) or 0
        checked = _mark(view, view.head.size)
        sound = report.sound and extent.log and extent.state and not backend.journal.only_looks
        found, key = _verified(view) if sound else None, view.keys.head
    if found is not None:
        _remember(context, backend, found, key, checked)
    if report.grave:
        _seal(context, backend, report, checked)
    if refused is not None and not report.grave:
        raise refused
    return report


def _known(view: View, witness: Witness | None) -> tuple[list[KnownHead], TokenctlError | None]:
    """Return the heads to compare with, or why they are refused: whoever changed the store may be why they do not fit it."""
    try:
        return (verified(view, witness) if witness is not None else []), None
    except (InvalidRequest, IntegrityError) as error:
        return [], error


def _fitting(view: View, archives: tuple[Archive, ...]) -> tuple[tuple[Archive, ...], TokenctlError | None]:
    """Return the archives that fit the log, and why the first other one does not: whoever changed the log may be why."""
    fitting, refused = [], None
    for each in archives:
        try:
            compare(view.store, view.store_id, each)
            fitting.append(each)
        except IntegrityError as error:
            refused = refused or error
    return tuple(fitting), refused


def _last(context: Context, view: View, backend: Backend) -> remembered.Verified | None:
    """Return what was verified last, for a check that begins at the beginning: without it that is as sound, and sees less far."""
    try:
        return remembered.read(backend.journal.anchor_path, view.keys.head, view.store_id)
    except InvalidConfiguration as error:
        context.console.warn(f"what was verified before is not compared: {error.message}")
        return None


def _since_last(context: Context, view: View, backend: Backend) -> Extent:
    """Return what came since the last sound check; all where none is known, or the clock was corrected since."""
    before = remembered.read(backend.journal.anchor_path, view.keys.head, view.store_id)
    if before is None:
        context.console.chat("nothing was verified before: all of it is checked")
        return EVERYTHING
    corrected = "SELECT 1 FROM record WHERE operation = 'store.clock' AND seq > ? LIMIT 1"
    if view.store.value(corrected, before.size) is not None:
        context.console.chat("the clock was corrected since the last check: all of it is checked")
        return EVERYTHING
    return EVERYTHING._replace(verified=before)


def _verified(view: View) -> remembered.Verified | None:
    """Return what was verified, the log of a sound store; ``None`` for a log of nothing."""
    head = view.head
    leaf = view.store.value("SELECT hash FROM record WHERE seq = ?", head.size)
    if not isinstance(leaf, bytes):
        return None
    return remembered.Verified(size=head.size, range=head.range, leaf=leaf, time=head.time)


def _remember(
    context: Context, backend: Backend, found: remembered.Verified, key: bytes, checked: tuple[int, str, object, object]
) -> None:  # fmt: skip
    path = backend.journal.anchor_path
    try:
        remembered.write(path, found, key, checked[1])
    except OSError as error:
        shown = context.places.shown(remembered.path_beside(path))
        context.console.chat(f"{shown} was not written, so --quick cannot go on from here: {files.cause_of(error)}")
        return
    # A store that was restored meanwhile forgot what was verified before this was written, and does not go on from it.
    with backend.journal.reading() as view:
        if view is None or _mark(view, checked[0]) != checked:
            remembered.forget(path)


def _mark(view: View, size: int) -> tuple[int, str, object, object]:
    """Return what tells the store that was checked, of that size, from one that was put or restored in its place since."""
    leaf = restored = None
    with suppress(IntegrityError):  # a damage that was told already
        leaf = view.store.value("SELECT hash FROM record WHERE seq = ?", size)
        restored = view.store.value("SELECT 1 FROM record WHERE operation = 'store.restore' AND seq > ? LIMIT 1", size)
    return size, view.store_id, leaf, restored


def _seal(context: Context, backend: Backend, report: Report, checked: tuple[int, str, object, object]) -> None:
    """Quarantine the store, so that nothing in it is called active until it is released."""
    try:
        with backend.journal.changing() as change:
            assert change is not None
            if _mark(change, checked[0]) != checked:
                context.console.warn("the store was exchanged while it was checked, and is not quarantined: run again")
            elif change.head.quarantine is None:
                change.seal(change.quarantine or f"{report.verdict}: {report.flaws[0]}")
                change.append(
                    Event(
                        operation="store.seal", target=change.store_id, reason=report.verdict, parameters={"flaws": report.flaws}
                    )
                )
    except TemporarilyUnavailable:
        context.console.warn("the quarantine could not be recorded: the store cannot be written")
    except TokenctlError as error:
        context.console.warn(f"the quarantine could not be recorded: {error.message}")
