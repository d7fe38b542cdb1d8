"""The destination's own record: plan, receipts, manifest; claim, resume, finish.

``_evensplit/plan.json`` is created first and only if absent: it is the claim of the destination and
the key of a resume. One receipt follows each committed part. ``manifest.json`` comes last: where it
is, the split is complete. Readers skip folders whose names begin with an underscore.

Dying is safe between any two steps: a part without a receipt is written again with the same bytes,
a receipt without its part (or with a part of another size) does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from engine.errors import DestinationInUse, InternalError, NotASplit, OtherPlan
from engine.model import Manifest, Receipt, SourceFile, SplitPlan
from engine.storage import Storage
from engine.storage.base import redacted

FOLDER = "_evensplit"
_IGNORED = {".DS_Store"}


def receipt_path(store: Storage, folder: str, index: int) -> str:
    """Return where the receipt of a part is kept."""
    return store.join(folder, FOLDER, "receipts", f"{index:05d}.json")


class Ledger:
    """The record of one destination folder."""

    def __init__(self, store: Storage, folder: str) -> None:
        self._store = store
        self._folder = folder

    def lock(self) -> AbstractContextManager[None]:
        """Hold the destination against other runs on this machine."""
        return self._store.lock(self._path())

    def is_claimed(self) -> bool:
        """Return whether the folder holds a plan."""
        return self._get("plan.json") is not None

    def check_free(self) -> None:
        """Raise DestinationInUse if the folder holds anything while it holds no plan of ours."""
        if self.is_claimed():
            return
        strangers = [entry.name for entry in self._store.files(self._folder)]
        strangers += [name for name in self._store.folders(self._folder) if name != FOLDER]
        strangers = [name for name in strangers if name not in _IGNORED]
        if strangers:
            raise DestinationInUse(
                f"{redacted(self._folder)} is not empty and was not made by evensplit (it holds "
                f"{strangers[0]}); name an empty or new folder"
            )

    def claim(self, plan: SplitPlan, *, overwrite: bool) -> list[Receipt]:
        """Claim the destination for a plan; return the receipts of parts that already stand.

        Raises:
            DestinationInUse: the folder holds files that are not ours.
            OtherPlan: it holds another plan, and ``overwrite`` is not given.
        """
        self.check_free()
        text = json.dumps(plan.as_dict(), indent=1).encode()
        if not self._store.put_if_absent(self._path("plan.json"), text):
            found = self._load("plan.json")
            if found["plan_id"] != plan.plan_id:
                if not overwrite:
                    raise OtherPlan(
                        f"{redacted(self._folder)} holds the parts of another plan "
                        f"({_describe(found)}); repeat that call to resume it, or replace it with "
                        "--overwrite"
                    )
                self.clear()
                self._store.put_if_absent(self._path("plan.json"), text)
        self._store.remove_leftovers(self._folder)
        self._store.remove_leftovers(self._path("receipts"))
        return self.receipts(plan)

    def receipts(self, plan: SplitPlan) -> list[Receipt]:
        """Return the receipts whose parts are there with the size that they had."""
        sizes = {entry.name: entry.size_bytes for entry in self._store.files(self._folder)}
        found = []
        for entry in self._store.files(self._path("receipts")):
            if not entry.name.endswith(".json") or entry.name.startswith("."):
                continue
            try:
                receipt = _receipt(json.loads(self._get("receipts", entry.name) or b""))
            except (ValueError, KeyError, TypeError):  # cut short by a crash: write the part again
                continue
            expected = plan.parts[receipt.index] if receipt.index < len(plan.parts) else None
            if (
                expected is not None
                and (expected.name, expected.num_rows) == (receipt.name, receipt.num_rows)
                and sizes.get(receipt.name) == receipt.size_bytes
            ):
                found.append(receipt)
        return found

    def finish(self, plan: SplitPlan, receipts: Iterable[Receipt], version: str) -> Manifest:
        """Write the manifest, which completes the split."""
        ordered = tuple(sorted(receipts, key=lambda receipt: receipt.index))
        if [receipt.index for receipt in ordered] != [part.index for part in plan.parts]:
            raise InternalError("the receipts do not cover the plan")
        if sum(receipt.num_rows for receipt in ordered) != plan.num_rows:
            raise InternalError("the parts do not hold all rows")
        manifest = Manifest(
            plan.plan_id, version, plan.sources, plan.settings, plan.num_rows, ordered, plan.lost
        )
        if self._get("manifest.json") is None:
            text = json.dumps(manifest.as_dict(), indent=1).encode()
            self._store.put(self._path("manifest.json"), text)
        return manifest

    def manifest(self) -> Manifest:
        """Return the manifest of a finished split.

        Raises:
            NotASplit: there is none; the message says whether a split was begun.
        """
        if self._get("manifest.json") is None:
            begun = self.is_claimed()
            raise NotASplit(
                f"{redacted(self._folder)} holds "
                + (
                    "an unfinished split; run the same split again to finish it"
                    if begun
                    else "no split of evensplit"
                )
            )
        data = self._load("manifest.json")
        return Manifest(
            plan_id=data["plan_id"],
            version=data["version"],
            sources=tuple(SourceFile(**source) for source in data["sources"]),
            settings=data["settings"],
            num_rows=data["num_rows"],
            parts=tuple(_receipt(part) for part in data["parts"]),
            lost=tuple(data["lost"]),
        )

    def clear(self) -> None:
        """Remove a split of ours, manifest first and plan last; nothing else is touched."""
        plan = self._load("plan.json")
        self._store.remove(self._path("manifest.json"))
        for entry in self._store.files(self._path("receipts")):
            self._store.remove(self._path("receipts", entry.name))
        for part in plan["parts"]:
            self._store.remove(self._store.join(self._folder, part["name"]))
        self._store.remove(self._path("plan.json"))

    def _path(self, *names: str) -> str:
        return self._store.join(self._folder, FOLDER, *names)

    def _get(self, *names: str) -> bytes | None:
        return self._store.get(self._path(*names))

    def _load(self, *names: str) -> dict[str, Any]:
        data = self._get(*names)
        try:
            return dict(json.loads(data or b""))
        except ValueError as error:
            raise NotASplit(
                f"{redacted(self._path(*names))} is damaged; remove {redacted(self._folder)} "
                "and split again"
            ) from error


def _receipt(data: dict[str, Any]) -> Receipt:
    return Receipt(**{**data, "notes": tuple(data["notes"])})


def _describe(plan: dict[str, Any]) -> str:
    sources = ", ".join(redacted(source["path"]) for source in plan["sources"][:3])
    return f"{len(plan['parts'])} parts of {sources}"
