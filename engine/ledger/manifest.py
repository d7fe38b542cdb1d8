"""The destination's own record: plan, receipts, manifest; claim, resume, finish.

``_evensplit/plan.json`` is created first and only if absent: it is the claim of the destination and
the key of a resume. One receipt follows each committed part. ``manifest.json`` comes last: where it
is, the split is complete. Readers skip folders whose names begin with an underscore.

Each of these says the version of its format, and a receipt of which plan it is. What this version
does not know of a record is passed over; a record of a newer format, or with values of other types,
is refused.

Dying is safe between any two steps: a part without a receipt is written again with the same bytes,
a receipt without its part (or with a part of another size) does not count.

A run may be paused at any step, and go on when another has replaced its plan. So a plan is replaced
before anything of the old one goes, what goes is what was listed while the claim was seen, and
``plan.json`` names the files of replaced plans until the split is finished: while it does, whatever
else lies there, the split is not. Who replaces a plan puts a token of its own into it: a run whose
own plan was begun anew has lost its claim too. What is left to chance in which store:
docs/decisions/0021.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from itertools import groupby
from typing import Any, TypeVar

from engine import endings, system
from engine.at_once import answers
from engine.errors import (
    Conflict,
    DestinationInUse,
    InternalError,
    Locked,
    NoSource,
    NotASplit,
    OtherPlan,
    SourceChanged,
    StorageFailed,
)
from engine.ledger.indented import indented
from engine.ledger.typed import made
from engine.loaders import FOLDER as LOADS
from engine.model import (
    Manifest,
    Measured,
    PartPlan,
    Receipt,
    Run,
    SourceFile,
    SplitPlan,
    by_partition,
    folder_of,
)
from engine.part_names import DEFAULT_NAME, is_named_by
from engine.storage import Storage
from engine.storage.base import redacted
from engine.storage.folders import SPLIT_FOLDER
from engine.wording import counted

R = TypeVar("R", SplitPlan, Manifest)
BAD_ROWS = "bad-rows.csv"
S = TypeVar("S")

FOLDER = SPLIT_FOLDER
FORMAT_VERSION = 1
_VERSION_KEY = "format_version"
_REPLACES = "replaces"  # of plan.json: names of parts, until the split is finished
_TOKEN = "claim"  # of plan.json: tells one claim of a plan from the next
_CLAIMING = ("plan_id", "revision", _TOKEN, _REPLACES)
_UNFINISHED = "an unfinished split; run the same split again to finish it"
_MENDED_BY = {
    "manifest.json": "run the same split again, which writes it anew from what is there",
    "plan.json": "split again with --overwrite, or remove the folder",
}
_IGNORED = {".DS_Store"}
_SEPARATORS = {"\\", "\0"}


def record(data: Mapping[str, Any]) -> bytes:
    """Return a plan, receipt or manifest as it is kept."""
    return indented({_VERSION_KEY: FORMAT_VERSION, **data}).encode()


def receipt_path(store: Storage, folder: str, index: int) -> str:
    """Return where the receipt of a part is kept."""
    return store.join(folder, FOLDER, "receipts", f"{index:05d}.json")


@dataclass(frozen=True)
class Claim:
    """What holds a destination: a plan, its file as it was seen, and the token in that."""

    file: SourceFile
    plan_id: str
    revision: int
    token: str

    @property
    def identity(self) -> tuple[object, ...]:
        """What stays the same when a run of this claim writes the file again."""
        return self.plan_id, self.revision, self.token


class Ledger:
    """The record of one destination folder."""

    def __init__(self, store: Storage, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._held: Claim | None = None
        self._places: set[str] = set()  # of partitions, below
        self._claiming: tuple[bytes, dict[str, Any]] = (b"", {})  # by the digest of plan.json

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the destination against other runs on this machine.

        If the process ends suddenly, what its workers left under temporary names goes.
        """
        with self._store.lock(self._path()), ExitStack() as stack:
            if self._store.has_locks:
                stack.enter_context(endings.put_right(self.remove_leftovers))
            yield

    def is_claimed(self) -> bool:
        """Return whether the folder holds a plan."""
        return self._get("plan.json") is not None

    def failed(self, plan_id: str) -> tuple[Measured, ...]:
        """Return the parts that failed before the plan that holds the folder; none of another's."""
        try:
            found = self.plan()
        except NotASplit:
            return ()
        return found.failed if found.plan_id == plan_id else ()

    def check_free(self) -> None:
        """Raise DestinationInUse if the folder holds anything while it holds no plan of ours."""
        if self.is_claimed():
            return
        try:
            strangers = [entry.name for entry in self._store.files(self._folder)]
        except NoSource as error:
            raise DestinationInUse(
                f"{redacted(self._folder)} is a file or a broken link, or lies below one; "
                "name a folder"
            ) from error
        strangers += [name for name in self._store.folders(self._folder) if name != FOLDER]
        strangers = [name for name in strangers if name not in _IGNORED]
        if strangers and not self.is_claimed():  # by another run, a moment before it was listed
            raise DestinationInUse(
                f"{redacted(self._folder)} is not empty and was not made by evensplit (it holds "
                f"{strangers[0]}); name an empty or new folder"
            )

    def claim(
        self,
        plan: SplitPlan,
        *,
        overwrite: bool,
        is_intact: Callable[[Receipt], bool],
        check_sources: Callable[[], None],
    ) -> list[Receipt]:
        """Claim the destination for a plan; return the receipts of parts that already stand.

        An earlier revision of the plan is replaced, and its parts with it; with ``overwrite``
        another plan, and a split that is complete. Another plan that came to nothing, as its first
        part could not be written, is replaced without being asked where a lock tells that no run
        is at it.

        Args:
            plan: to be carried out.
            overwrite: see there.
            is_intact: whether the part of a receipt is still what it was.
            check_sources: raises SourceChanged if the plan can no longer be carried out; asked
                before another plan and its parts go.

        Raises:
            DestinationInUse: the folder holds files that are not ours.
            NoPermission: what is to be replaced is another user's; nothing is changed.
            Locked: it holds a later revision, or a plan that another run has put there meanwhile.
            OtherPlan: it holds another plan, and ``overwrite`` is not given.
            SourceChanged: it holds this very plan for an earlier version of the source, or the
                source changed meanwhile.
        """
        self.check_free()
        self._places = {place for part in plan.parts if (place := folder_of(part.name))}
        if not self._store.put_if_absent(self._path("plan.json"), record(plan.as_dict())):
            version = self._store.stat(self._path("plan.json")).version  # before it is read
            old = self._in_the_way(plan, overwrite=overwrite, is_intact=is_intact)
            if old is not None:
                check_sources()
                self._replace(old, version, plan)
        self._hold(plan)
        self._remove_strangers(plan)
        self.remove_leftovers()
        receipts = self.receipts(plan)
        intact = answers(is_intact, receipts, is_remote=self._is_remote)
        return [receipt for receipt, is_whole in zip(receipts, intact, strict=True) if is_whole]

    def _in_the_way(
        self, plan: SplitPlan, *, overwrite: bool, is_intact: Callable[[Receipt], bool]
    ) -> set[str] | None:
        """Return the parts of the plan that is to be replaced; None if this one goes on with it."""
        try:
            found = self.plan()
            old = {part.name for part in found.parts} | self._replaced()
        except NotASplit as error:
            if not (overwrite and error.is_damaged):
                raise
            return self._surely_ours(is_intact)
        is_same = found.plan_id == plan.plan_id
        if is_same and found.revision > plan.revision:
            raise Locked(
                f"another run has planned the split in {redacted(self._folder)} again; run "
                "the same command again"
            )
        if not is_same and not overwrite and not self._came_to_nothing(found):
            raise self._conflict(found, plan)
        is_complete = self._get("manifest.json") is not None
        is_replaced = not is_same or found.revision < plan.revision or (overwrite and is_complete)
        return old if is_replaced else None

    def _surely_ours(self, is_intact: Callable[[Receipt], bool]) -> set[str]:
        """Return the parts that records tell of and that end as these say: no plan names them."""
        told: list[Receipt] = []
        with suppress(NotASplit):
            told += self._load(Manifest, "manifest.json").parts
        for path, _ in self._listed(self._path("receipts")):
            with suppress(ValueError):
                told.append(made(Receipt, _decoded(self._store.get(path))))
        plain = {receipt.name: receipt for receipt in told if _is_plain(receipt.name)}
        return {name for name, receipt in plain.items() if is_intact(receipt)}

    def forget(self, name: str) -> None:
        """Have a part written anew when its plan is carried out again.

        Raises:
            NotASplit: there is no plan that has such a part.
        """
        for part in self.plan().parts:
            if part.name == name:
                self._store.remove(receipt_path(self._store, self._folder, part.index))

    @property
    def held(self) -> Claim:
        """What :meth:`claim` saw when its own plan held the destination."""
        if self._held is None:
            raise InternalError("the destination was not claimed")
        return self._held

    def check_claim(self, claim: Claim) -> None:
        """Raise OtherPlan unless the destination still belongs to a claim.

        Who writes a part asks before publishing it, and after: its run may have been killed or
        paused, and another may have taken the destination since. Looking at the file is cheap,
        however long the plan; one that was written anew is read.
        """
        with suppress(NoSource):
            if self._store.stat(self._path("plan.json")) == claim.file:
                return
            if self._identity() == claim.identity:
                return
        raise OtherPlan(
            f"{redacted(self._folder)} does not hold the plan of this split, or not any more: "
            "another run has replaced it, or begun it anew"
        )

    def is_begun_anew(self, claim: Claim) -> bool:
        """Whether a claim that was lost was lost to its own plan: what it published is the same."""
        return self._identity()[:2] == claim.identity[:2]

    def _identity(self) -> tuple[object, ...]:
        """Return whose claim is there, as :attr:`Claim.identity` has it; empty if it is damaged."""
        try:
            data = self._read_claim()
        except ValueError:
            return ()
        return data.get("plan_id"), data.get("revision", 0), data.get(_TOKEN, "")

    def _read_claim(self) -> dict[str, Any]:
        """Return what plan.json says of its claim; raises ValueError.

        It is long, and asked again and again: the same bytes are decoded once.
        """
        text = self._get("plan.json") or b""
        digest = sha256(text).digest()
        if self._claiming[0] != digest:
            found = _decoded(text)
            self._claiming = digest, {key: found[key] for key in _CLAIMING if key in found}
        return self._claiming[1]

    def _conflict(self, found: SplitPlan, plan: SplitPlan) -> OtherPlan | SourceChanged:
        changed = [
            now.path
            for was, now in zip(found.sources, plan.sources, strict=False)
            if was.path == now.path and was != now
        ]
        where = redacted(self._folder)
        if changed and found.settings == plan.settings:
            return SourceChanged(
                f"{redacted(changed[0])} changed since the split in {where} was begun; name a new "
                "folder, or replace those parts with --overwrite"
            )
        return OtherPlan(
            f"{where} holds the parts of another plan ({_describe(found)}); repeat that call to "
            "resume it, or replace it with --overwrite"
        )

    def _came_to_nothing(self, found: SplitPlan) -> bool:
        """Whether no part of a plan is committed, and no run is at work on one: we hold the lock.

        A worker of a cluster may have outlived its run: it asks :meth:`check_claim`.
        """
        if not self._store.has_locks:
            return False
        names = {part.name for part in found.parts}
        there = self.sizes(found.parts).keys()
        return not (names & there or self._store.files(self._path("receipts")))

    def _replace(self, old: set[str], version: str, plan: SplitPlan) -> None:
        """Claim the folder anew and remove another split's parts; safe to die in at any step."""
        self._places |= {place for name in old if (place := folder_of(name))}
        strangers = self.sizes(plan.parts).keys() - old
        for part in plan.parts:
            if part.name in strangers:
                if self._store.stat(self._path("plan.json")).version != version:
                    raise self._taken()  # whose part it is
                raise DestinationInUse(
                    f"{redacted(self._folder)} holds {part.name}, which evensplit did not write "
                    "and this plan would replace; move it away"
                )
        # Listed before the claim: what a run writes after has another version, and stays.
        gone = [
            *self._listed(self._path(), {"manifest.json", BAD_ROWS}),
            *self._listed(self._path("receipts")),
            *self._listed(self._path(LOADS)),
            *self._listed_parts(old),
        ]
        self._store.check_removable(where for where, _ in gone)
        token = secrets.token_hex(4)
        text = record({**plan.as_dict(), _TOKEN: token, _REPLACES: sorted(old)})
        path = self._path("plan.json")
        if not self._store.replace(path, text, version) and self._store.get(path) != text:
            raise self._taken()
        self._store.fence(self._folder, old)
        for where, seen in gone:
            self._store.remove(where, seen)

    def _listed(self, folder: str, names: Collection[str] | None = None) -> list[tuple[str, str]]:
        """Return paths and versions of the files of a folder, of these names only if any are."""
        return [
            (self._store.join(folder, entry.name), entry.version)
            for entry in self._store.files(folder)
            if names is None or entry.name in names
        ]

    def _listed_parts(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return paths and versions of parts, by names that may lie in folders of partitions."""
        found: list[tuple[str, str]] = []
        for place, inside in groupby(sorted(names, key=folder_of), folder_of):
            folder = self._store.join(self._folder, place) if place else self._folder
            found += self._listed(folder, {name.rpartition("/")[2] for name in inside})
        return found

    def _hold(self, plan: SplitPlan) -> None:
        """Remember the claim's version; it is read after, as it may be another's by then."""
        file = self._store.stat(self._path("plan.json"))
        found = self._identity()
        if found[:2] != (plan.plan_id, plan.revision):
            raise self._taken()
        self._held = Claim(file, plan.plan_id, plan.revision, str(found[2]))

    def _taken(self) -> Locked:
        return Locked(
            f"another run has just claimed {redacted(self._folder)}; run the same command again"
        )

    def _replaced(self) -> set[str]:
        """Return names of parts of plans that were replaced since the last split was finished."""
        try:
            names = self._read_claim().get(_REPLACES, [])
        except ValueError:
            return set()
        if not isinstance(names, list) or not all(
            isinstance(name, str) and _is_plain(name) for name in names
        ):
            raise self._damaged("plan.json")
        return set(names)

    def _remove_strangers(self, plan: SplitPlan) -> None:
        """Remove what replaced plans left, or wrote since; refuse what else is named like a part.

        Files of other names are not looked at: they are the user's.
        """
        own, replaced = {part.name for part in plan.parts}, self._replaced()
        others = self.sizes(plan.parts).keys() - own
        template = str(plan.settings.get("name", DEFAULT_NAME))
        for name in sorted(others - replaced):
            if is_named_by(template, name.rpartition("/")[2]):
                self.check_claim(self.held)  # it may be of the plan that replaced this one
                raise DestinationInUse(
                    f"{redacted(self._folder)} holds {name}, which is named like a part and is "
                    f"none of the {counted(len(own), 'part')} of this split, so that readers "
                    "would take its rows as well; move it away and run the same command again"
                )
        gone = self._listed_parts(replaced - own)
        if replaced:  # a run that died left receipts of the old plan: ours have fewer numbers
            known = {receipt_path(self._store, self._folder, part.index) for part in plan.parts}
            kept = self._listed(self._path("receipts"))
            gone += [(where, seen) for where, seen in kept if where not in known]
        if gone:
            self.check_claim(self.held)
        for where, seen in gone:
            self._store.remove(where, seen)

    def sizes(self, parts: Sequence[PartPlan | Receipt]) -> dict[str, int]:
        """Return the files where parts lie, with their sizes: also below, if those have folders."""
        if any(folder_of(part.name) for part in parts):
            entries = self._store.expand(self._folder).entries
            return {item.name: item.size_bytes for item in entries}
        return {entry.name: entry.size_bytes for entry in self._store.files(self._folder)}

    def receipts(self, plan: SplitPlan) -> list[Receipt]:
        """Return the receipts whose parts are there with the size that they had."""
        sizes = self.sizes(plan.parts)
        there = [part for part in plan.parts if part.name in sizes]
        told = answers(partial(self._receipt, plan), there, is_remote=self._is_remote)
        found = []
        for part, receipt in zip(there, told, strict=True):
            if receipt is not None and (
                (receipt.index, receipt.name) == (part.index, part.name)
                and (receipt.first_row, receipt.num_rows) == (part.first_row, part.num_rows)
                and receipt.size_bytes == sizes[part.name]
            ):
                found.append(receipt)
        return found

    @property
    def _is_remote(self) -> bool:
        return "://" in self._folder

    def _receipt(self, plan: SplitPlan, part: PartPlan) -> Receipt | None:
        """Return a part's receipt; None also if it cannot be read: the part is written again.

        After a power cut a receipt of the plan before may be there still. And of a part that was
        not synced nothing but its ends may be: it counts until the machine starts again.
        """
        try:
            data = _decoded(self._store.get(receipt_path(self._store, self._folder, part.index)))
            known = data.get(_VERSION_KEY, 1) <= FORMAT_VERSION
            of_plan = data.get("plan_id", plan.plan_id), data.get("revision", plan.revision)
            is_ours = known and of_plan == (plan.plan_id, plan.revision)
            is_ours &= data.get("boot_id", system.boot_id()) == system.boot_id()
            return made(Receipt, data) if is_ours else None
        except (ValueError, TypeError):
            return None

    def finish(self, plan: SplitPlan, receipts: Iterable[Receipt], version: str) -> Manifest:
        """Write the manifest, which completes the split."""
        ordered = tuple(sorted(receipts, key=lambda receipt: receipt.index))
        if [receipt.index for receipt in ordered] != [part.index for part in plan.parts]:
            raise InternalError("the receipts do not cover the plan")
        counts = [receipt.num_rows for receipt in ordered if receipt.num_rows is not None]
        if plan.num_rows not in (None, sum(counts)):
            raise InternalError("the parts do not hold all rows")
        manifest = Manifest(
            plan.plan_id,
            version,
            plan.sources,
            plan.settings,
            plan.num_rows,
            ordered,
            plan.lost,
            plan.growth,
            plan.source_notes,
            plan.advice,
        )
        sizes = self.sizes(ordered)
        for receipt in ordered:
            if sizes.get(receipt.name) != receipt.size_bytes:
                raise StorageFailed(
                    f"{redacted(self._folder)} holds {receipt.name} with "
                    f"{sizes.get(receipt.name, 'no')} bytes, {receipt.size_bytes} were written; "
                    "see that nobody else writes there, and run the same command again"
                )
        self.remove_leftovers()  # of workers that died, while others did their parts
        self._remove_strangers(plan)
        if self._replaced():  # from here on nothing is to be told apart any more
            text = record({**plan.as_dict(), _TOKEN: self.held.token})
            self._store.replace(self._path("plan.json"), text, self.held.file.version)
        self._publish(record(manifest.as_dict()))
        return manifest

    def _publish(self, text: bytes) -> None:
        """Write the manifest, and take it back if the claim was lost meanwhile."""
        path = self._path("manifest.json")
        seen = [version for _, version in self._listed(self._path(), {"manifest.json"})]
        self.check_claim(self.held)
        if self._store.get(path) == text:
            self.check_claim(self.held)
            return
        if seen:
            is_ours = self._store.replace(path, text, seen[0])
        else:
            is_ours = self._store.put_if_absent(path, text)
        stands = text if is_ours else self._store.get(path)
        if stands is None:  # what is there is no file
            self._store.put(path, text)
        elif stands != text:
            raise Conflict(
                f"{redacted(path)} was written by somebody else; run the same command again"
            )
        version = None
        with suppress(NoSource):  # else who replaced the plan has removed it: the next look tells
            version = self._store.stat(path).version
        try:
            self.check_claim(self.held)
        except OtherPlan:
            is_alone = version is not None and not self.is_begun_anew(self.held)
            if is_alone and self._store.get(path) == text:
                self._store.remove(path, version)
            raise
        if version is None:
            raise Conflict(
                f"{redacted(path)} was removed by somebody else; run the same command again"
            )

    def manifest(self) -> Manifest:
        """Return the manifest of a finished split.

        Raises:
            NotASplit: there is none; the message says whether a split was begun.
        """
        if self._get("manifest.json") is None or self._replaced():
            begun = self.is_claimed()
            raise NotASplit(
                f"{redacted(self._folder)} holds "
                + (_UNFINISHED if begun else "no split of evensplit")
            )
        found = self._load(Manifest, "manifest.json")
        try:
            is_other = self.plan().plan_id != found.plan_id
        except NotASplit:  # the manifest is enough
            is_other = False
        if is_other:
            raise NotASplit(f"{redacted(self._folder)} holds {_UNFINISHED}")
        return found

    def plan(self) -> SplitPlan:
        """Return the plan that the destination was claimed for.

        Raises:
            NotASplit: there is none, or it is damaged.
        """
        return self._load(SplitPlan, "plan.json")

    def settings(self, kind: type[S]) -> S:
        """Return the settings of the plan, as the dataclass that has them.

        Raises:
            NotASplit: there is no plan, or it is damaged.
        """
        try:
            return made(kind, self.plan().settings)
        except ValueError as error:
            raise self._damaged("plan.json") from error

    def note_loads(self, files: Mapping[str, str]) -> tuple[str, ...]:
        """Keep texts by which the parts of a finished split are loaded; return where they are."""
        for name, text in files.items():
            self._store.put(self._path(LOADS, name), text.encode())
        return tuple(redacted(self._path(LOADS, name)) for name in files)

    def note_bad_rows(self, texts: Iterable[bytes]) -> None:
        """Keep the records of the sources that no part has, as a file of texts."""
        sink = self._store.create(self._path(BAD_ROWS), durable=True)
        try:
            for text in texts:
                sink.write(text)
            sink.commit()
        finally:
            sink.abort()

    def note_run(self, run: Run) -> None:
        """Keep what a run took, for :mod:`engine.reporter`."""
        self._store.put(self._path("run.json"), json.dumps(asdict(run)).encode(), durable=False)

    def run(self, plan: SplitPlan) -> Run | None:
        """Return what the last run of a plan took, if that was kept."""
        try:
            found = made(Run, _decoded(self._get("run.json")))
        except ValueError:
            return None
        return found if found.plan_id == plan.plan_id else None

    def remove_leftovers(self) -> None:
        """Remove temporary files of runs and workers that died."""
        places = [self._store.join(self._folder, place) for place in sorted(self._places)]
        for folder in (self._folder, *places, self._path(), self._path("receipts")):
            self._store.remove_leftovers(folder)

    def _path(self, *names: str) -> str:
        return self._store.join(self._folder, FOLDER, *names)

    def _get(self, *names: str) -> bytes | None:
        return self._store.get(self._path(*names))

    def _load(self, kind: type[R], name: str) -> R:
        try:
            data = _decoded(self._get(name))
            version = data.get(_VERSION_KEY, 1)
            if type(version) is not int:
                raise ValueError("the version is no number")
            if version > FORMAT_VERSION:
                raise NotASplit(
                    f"{redacted(self._path(name))} was written by a newer evensplit (format "
                    f"{version}, this one knows {FORMAT_VERSION}); install that version"
                )
            found = made(kind, data)
            if not (found.sources and found.parts):
                raise ValueError("it names no source, or no part")
            if not all(_is_plain(part.name) for part in found.parts):
                raise ValueError("a part's name leads out of the folder")
            by_partition(found.sources, found.parts)
        except ValueError as error:
            raise self._damaged(name) from error
        return found

    def _damaged(self, name: str) -> NotASplit:
        error = NotASplit(f"{redacted(self._path(name))} is damaged; {_MENDED_BY[name]}")
        error.is_damaged = True
        return error


def _decoded(text: bytes | None) -> dict[str, Any]:
    """Return the object of a record; raises ValueError."""
    try:
        data = json.loads(text or b"")
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    return data


def _is_plain(name: str) -> bool:
    """Whether a name lies in the folder, or folders of partitions in it: it may be forged."""
    *folders, last = name.split("/")
    is_plain = bool(last) and last not in (".", "..") and not _SEPARATORS.intersection(name)
    return is_plain and all("=" in folder for folder in folders)


def _describe(plan: SplitPlan) -> str:
    sources = ", ".join(redacted(source.path) for source in plan.sources[:3])
    return f"{counted(len(plan.parts), 'part')} of {sources}"
