"""What a deployment does to a pool that may be there: nothing, an update, or what needs it empty.

Pure. Azure Batch changes the start task, packages, metadata and scale of a pool at any time, and
nodes notice when they are rebooted. All else needs a steady pool without nodes, or another pool.

Source: Update Batch pool properties
(https://learn.microsoft.com/azure/batch/batch-pool-update-properties), with the management plane's
version 2024-07-01 or later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from batchjobs.errors import PoolInUse
from batchjobs.spec import LivePool, PoolSpec, id_of

_NEED_EMPTY = ("vm_size", "image", "agent", "slots_per_node", "container", "registry")
_NEED_REBOOT = ("package", "application")
_SCALE = ("formula", "num_dedicated", "num_spot")
_NAME_HEX_DIGITS = 10


@dataclass(frozen=True)
class PoolChange:
    """What becomes of a pool.

    Attributes:
        kind: as what-if of Azure Resource Manager says it.
        told: what differs, a line each.
        is_whole: whether the whole pool is sent, which only an empty one takes.
        num_stale: nodes that go on with the old package until they are rebooted.
    """

    kind: Literal["Create", "Modify", "NoChange"]
    told: tuple[str, ...] = ()
    is_whole: bool = False
    num_stale: int = 0


def wanted_pool(said: Mapping[str, Any], usual: PoolSpec, live: LivePool | None) -> PoolSpec:
    """Return the pool that is wanted: what was said, else what is there, else what is usual.

    So the number of nodes of a pool without a formula stays, whoever set it.

    Args:
        said: fields of :class:`PoolSpec`; None for those that were not said.
        usual: the rest of a new pool.
        live: the pool that is there.
    """
    known = {name: value for name, value in said.items() if value is not None}
    return replace(live.spec if live else usual, **known)


def compare(live: LivePool | None, wanted: PoolSpec) -> PoolChange:
    """Return what has to be done.

    Raises:
        PoolInUse: it cannot be done while the pool has nodes.
    """
    if live is None:
        return PoolChange("Create", is_whole=True)
    empty, reboot, scale = (
        _differences(live.spec, wanted, names) for names in (_NEED_EMPTY, _NEED_REBOOT, _SCALE)
    )
    if empty and live.num_nodes:
        raise PoolInUse(
            f"pool {live.id} has {live.num_nodes} nodes, and only a pool without nodes takes this: "
            f"{'; '.join(empty)}. Take them away (`evensplit batch pool resize {live.id}`; with a "
            "formula they go after the last task) and run the same command again, or make a pool "
            "beside it: --second-pool"
        )
    told = (*empty, *reboot, *scale)
    if not told:
        return PoolChange("NoChange")
    return PoolChange("Modify", told, bool(empty), live.num_nodes if reboot else 0)


def second_name(stem: str, wanted: PoolSpec) -> str:
    """Return the name of the pool that is made beside one in use: the same for the same.

    Args:
        stem: begins it.
        wanted: what the pool is to be.
    """
    data = {name: asdict(wanted)[name] for name in _NEED_EMPTY}
    return id_of(stem, data)[: len(stem) + 1 + _NAME_HEX_DIGITS]


def _differences(old: PoolSpec, new: PoolSpec, names: tuple[str, ...]) -> list[str]:
    pairs = [(name, _shown(old, name), _shown(new, name)) for name in names]
    return [
        "formula" if name == "formula" else f"{name.replace('_', ' ')} {before} -> {after}"
        for name, before, after in pairs
        if before.lower() != after.lower()
    ]


def _shown(spec: PoolSpec, name: str) -> str:
    value = getattr(spec, name)
    text = ":".join(value) if isinstance(value, tuple) else str(value)
    return text.strip() or "none"
