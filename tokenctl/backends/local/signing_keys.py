"""The signing keys of one store: what is due, and each step of it in a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tokenctl.backends.local import rotating
from tokenctl.backends.local.issuing import require_clock
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.published import file_of, key_set
from tokenctl.backends.local.standing import intact_keys, keys_as_they_are, require_intact
from tokenctl.backends.local.view import Change, View
from tokenctl.config import Profile
from tokenctl.errors import Conflict, InvalidRequest, NotFound
from tokenctl.formats import signing
from tokenctl.model.rotation import Outlook, Rotation, Step, Toll, Wish, plan
from tokenctl.model.times import format_distance, format_instant
from tokenctl.model.token import Key
from tokenctl.store.rows import Stored

_View = TypeVar("_View", bound=View)


class LocalSigningKeys:
    """The keys of one store; the contract is :class:`tokenctl.backends.base.SigningKeys`."""

    def __init__(self, journal: Journal, profile: Profile) -> None:
        self._journal = journal
        self._profile = profile
        self._file = file_of(profile, journal)

    @property
    def publishes(self) -> bool:
        return self._file is not None

    @property
    def rotation(self) -> Rotation:
        return self._profile.rotation

    def keys(self) -> list[tuple[Key, int]]:
        with self._journal.reading() as view:
            if view is None:
                return []
            keys = intact_keys(view)
            # What a compromised key signed is dead by that.
            return [(key, 0 if key.state == "compromised" else view.rows.living_under(key.kid, view.now)) for key in keys]

    def jwks(self) -> dict[str, object]:
        """Return the public keys that verifiers need now.

        Raises:
            IntegrityError: a key's row or the store does not check out (exit 10).
        """
        with self._journal.reading() as view:
            if view is None:
                return {"keys": []}
            view.require_trust()
            return key_set(intact_keys(view), self._profile)

    def last_expiry(self, kid: str) -> int | None:
        with self._journal.reading() as view:
            return view.rows.last_expiry_under(kid) if view is not None else None

    def publish(self, view: View) -> None:
        """Write the public keys as they stand in the caller's transaction to the profile's file, if it names one."""
        if self._file is not None:
            self._file.write(view)

    # Steps

    def outlook(self, wish: Wish) -> Outlook:
        with self._journal.reading() as view:
            keys = intact_keys(view) if view is not None else []
            now = view.now if view is not None else self._journal.clock
            return Outlook(self._plan(view, keys, wish, now=now), now)

    def _plan(self, view: View | None, keys: Sequence[Key], wish: Wish, *, now: int) -> list[Step]:
        rotation = self.rotation
        if wish.older_than is not None:
            rotation = rotation._replace(age=wish.older_than)
        last = {key.kid: view.rows.last_expiry_under(key.kid) or 0 for key in keys if key.state == "retiring"} if view else {}
        lacking = self._file.lacking(keys) if self._file is not None else set()
        steps = plan(keys, rotation, now=now, last_expiry=last, lacking=lacking, algorithm=wish.algorithm)
        published = any(step.action == "publish" and step.kid is not None for step in steps)
        if self._file is not None and not published and not self._file.holds(keys):
            return [Step("mend", None, None, now, self._file.path), *steps]
        return steps

    def advance(self, step: Step, wish: Wish) -> list[Step]:
        # What is slow must not happen inside the lock.
        fresh = signing.generate(step.alg) if step.kid is None and step.alg is not None else None
        with self._journal.changing(create=wish.algorithm is not None, trusted=True) as change:
            if change is None:
                return []
            keys = intact_keys(change)
            if step.action in ("publish", "activate", "retire"):  # they go by how long something has been so
                require_clock(change, self._journal.clock)
            due = [now for now in self._plan(change, keys, wish, now=change.now) if now.at <= change.now]
            if not any(now[:3] == step[:3] for now in due):
                return []
            done = self._take(change, step, keys, fresh)
        if step.action == "retire":
            self._wipe(done)
        return done

    def _take(self, change: Change, step: Step, keys: Sequence[Key], fresh: signing.SigningKey | None) -> list[Step]:
        own = {key.kid: key for key in keys}
        if step.kid is not None and step.action == "activate":
            active = next((key for key in keys if key.state == "active" and key.alg == step.alg), None)
            return rotating.activate(change, own[step.kid], old=active)
        if step.kid is not None and step.action == "retire":
            return [rotating.retire(change, own[step.kid])]
        if step.kid is not None and step.action == "retiring":
            return [rotating.stop(change, own[step.kid])]
        # What is left writes the file, and what it did not hold begins its time anew.
        lacking = self._file.lacking(keys) if self._file is not None else set()
        again = lacking | ({step.kid} if step.kid is not None else set())
        done = [rotating.publish_again(change, own[kid]) for kid in sorted(again)]
        if step.action == "mend":
            done.append(step._replace(at=change.now))
        elif fresh is not None:
            key = rotating.make_key(change, fresh, "active" if step.action == "renew" else "published")
            done.append(Step("publish" if step.action == "publish" else "activate", key.kid, key.alg, change.now))
        self.publish(change)
        return done

    def roll_back(self, algorithm: str | None) -> list[Step]:
        seen = {key.kid for key, _ in self.keys() if key.state == "active"}
        with self._journal.changing(trusted=True) as change:
            keys = intact_keys(change) if change is not None else []
            active = {key.alg: key for key in keys if key.state == "active" and algorithm in (None, key.alg)}
            waiting = sorted((key.retiring_at or 0, key.kid) for key in keys if key.state == "retiring" and key.alg in active)
            able = sorted({key.alg for key in keys if key.state == "retiring" and key.alg in active})
            if change is None or not waiting:
                raise Conflict(
                    "no key to go back to: none is retiring", hint="tokenctl rotate-keys status", reason="nothing_retiring"
                )
            if len(able) > 1:
                raise InvalidRequest(f"several algorithms could go back: {', '.join(able)}", hint="name one with --algorithm")
            back = next(key for key in keys if key.kid == waiting[-1][1])
            if active[back.alg].kid not in seen:  # two at once are not to undo each other
                raise Conflict("another key became active meanwhile", hint="tokenctl rotate-keys status", reason="key_active")
            done = rotating.activate(change, back, old=active[back.alg], operation="key.roll_back")
            if self._file is not None and not self._file.holds(intact_keys(change)):
                self.publish(change)  # inside: where it fails nothing is done, and running again does not swap back
                done.append(Step("mend", None, None, change.now, self._file.path))
            return done

    def retire(self, kid: str) -> list[Step]:
        with self._journal.changing(trusted=True) as view:
            change, key = self._known(view, kid)
            if key.state in ("retired", "compromised"):
                return []
            if key.state == "active":
                raise Conflict(
                    f"{kid} is the active key of {key.alg}", reason="key_active",
                    hint="publish another one, which takes its place when verifiers have had time to fetch it: "
                    f"tokenctl rotate-keys --algorithm {key.alg} --if-older-than 0s",
                )  # fmt: skip
            require_clock(change, self._journal.clock)
            last = change.rows.last_expiry_under(kid) or 0
            if last > change.now:
                raise Conflict(
                    f"tokens that {kid} signed are valid until {format_instant(last)} ({format_distance(last, change.now)})",
                    reason="key_needed",
                    hint=f"retire it then, or if it leaked: tokenctl rotate-keys --compromised {kid}",
                )  # fmt: skip
            done = [rotating.retire(change, key)]
        self._wipe(done)
        return done

    def compromise(self, kid: str) -> list[Step]:
        """Deny a key, also in quarantine or where a key's row does not check out; only there no fresh one is made."""
        with self._journal.reading() as view:
            _, key, _ = self._named(view, kid)
        fresh = signing.generate(key.alg) if key.state in ("published", "active") else None
        with self._journal.changing() as view:
            change, key, intact = self._named(view, kid)
            if key.state == "compromised" and (intact or change.rows.newest_operation(kid) == "key.compromise"):
                return []
            signed, trusted = key.state == "active", change.quarantine is None and keys_as_they_are(change)[1]
            done = [rotating.compromise(change, key, replaced=trusted or not signed, intact=intact)]
            if signed:
                # The private part of its successor lay beside it.
                beside = [other.row for other in change.rows.every_key() if other.intact and other.row.alg == key.alg]
                done += [rotating.retire(change, other) for other in beside if other.state == "published"]
            if signed and trusted:
                new = rotating.make_key(change, fresh or signing.generate(key.alg), "active")
                done.append(Step("activate", new.kid, new.alg, change.now))
        self._wipe(done)
        return done

    def mend(self) -> list[Step]:
        if self._file is None:
            return []
        with self._journal.changing() as change:
            keys, sound = keys_as_they_are(change) if change is not None else ([], True)
            trusted = sound and (change is None or change.quarantine is None)
            if change is None or self._file.holds(keys, trusted=trusted):
                return []
            if not trusted:
                self._file.write(change)
                return [Step("mend", None, None, change.now, self._file.path)]
            return self._take(change, Step("mend", None, None, change.now, self._file.path), keys, None)

    def toll(self, kid: str) -> Toll:
        with self._journal.reading() as view:
            view, _, _ = self._named(view, kid)
            last = view.rows.last_expiry_under(kid, revoked=True) or 0
            return Toll(view.rows.owners_under(kid, view.now), last if last > view.now else None)

    def _wipe(self, done: Sequence[Step]) -> None:
        gone = ", ".join(step.kid for step in done if step.kid is not None and step.action in ("retire", "compromise"))
        if gone:
            self._journal.wipe(f"what was the private part of {gone}, sealed,")

    def _known(self, view: _View | None, kid: str) -> tuple[_View, Key]:
        """Return a key whose row checks out, and the view that it was found in."""
        found, key, intact = self._named(view, kid)
        require_intact(found, Stored(row=key, intact=intact))
        return found, key

    def _named(self, view: _View | None, kid: str) -> tuple[_View, Key, bool]:
        """Return the view that a key was found in, the key, and whether its row checks out."""
        stored = view.rows.key(kid) if view is not None else None
        if view is None or stored is None:
            place = f"profile {self._profile.name} (local, {self._journal.shown_path})"
            raise NotFound(f"no key {kid} in {place}", hint="tokenctl rotate-keys status")
        return view, stored.row, stored.intact and view.rows.newest_leaf(kid) == stored.row.leaf
