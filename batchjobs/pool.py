"""What nodes a pool should have: sizes, autoscale formulas, and the package they install.

Pure but for reading files; the requests are :mod:`batchjobs.client`'s.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchjobs.errors import PoolTooSmall
from batchjobs.service import NODE_MEMORY_MARGIN
from batchjobs.spec import id_of
from engine import BadSetting
from engine.hooks import conf_file, conf_folders

_FORMULAS = "batch/autoscale"  # in conf/
START_SCRIPT = "start.sh"

_GIB = 1 << 30
_LEGAL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MANAGED_IMAGE = (
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Compute/images/[^/]+"
)
_GALLERY = r"/(subscriptions/.*/galleries|SharedGalleries|CommunityGalleries)/[^/]+/images/"
_PLACE = re.compile(r"@(\w+)@")
# Everything a formula may be filled with, as (least, most): whole numbers, so no text gets in.
_PARAMETERS: Mapping[str, tuple[int, int]] = {
    "most_dedicated": (0, 10_000),
    "most_spot": (0, 10_000),
    "slots_per_node": (1, 256),
    "start_hour": (0, 23),
    "end_hour": (1, 24),
}


# What a node's own disk holds: the package as it came and as it is installed, and logs.
NODE_DISK_BYTES = 4 * _GIB
TASK_DISK_BYTES = _GIB >> 2


@dataclass(frozen=True)
class VmSize:
    """A size of Azure's nodes: cores, memory, temporary disk, and network in bytes a second."""

    name: str
    num_cores: int
    memory_bytes: int
    disk_bytes: int
    network_bytes_per_second: int


@dataclass(frozen=True)
class Need:
    """What one task slot needs of its node."""

    memory_bytes: int
    disk_bytes: int = TASK_DISK_BYTES
    network_bytes_per_second: int = 0


def _size(name: str, num_cores: int, memory_gib: int, disk_gib: int, gigabits: float) -> VmSize:
    network = int(gigabits * 1e9 / 8)
    return VmSize(name, num_cores, memory_gib * _GIB, disk_gib * _GIB, network)


# The cheapest first, by Microsoft's pages on the Ddsv5 and Edsv5 series; any other may be named.
VM_SIZES = (
    _size("standard_d2ds_v5", 2, 8, 75, 12.5),
    _size("standard_e2ds_v5", 2, 16, 75, 12.5),
    _size("standard_d4ds_v5", 4, 16, 150, 12.5),
    _size("standard_e4ds_v5", 4, 32, 150, 12.5),
    _size("standard_d8ds_v5", 8, 32, 300, 12.5),
    _size("standard_e8ds_v5", 8, 64, 300, 12.5),
    _size("standard_d16ds_v5", 16, 64, 600, 12.5),
    _size("standard_e16ds_v5", 16, 128, 600, 12.5),
    _size("standard_d32ds_v5", 32, 128, 1200, 16),
    _size("standard_e32ds_v5", 32, 256, 1200, 16),
)


def choose_vm_size(need: Need, slots_per_node: int) -> VmSize:
    """Return the smallest size whose every slot holds a task and gets its network.

    Raises:
        PoolTooSmall: none does; the message says what falls short.
    """
    for size in VM_SIZES:
        if not _short_of(size, need, slots_per_node):
            return size
    largest = VM_SIZES[-1]
    short = ", ".join(_short_of(largest, need, slots_per_node))
    raise PoolTooSmall(
        f"{slots_per_node} tasks at once of {need.memory_bytes >> 20} MiB memory fit no known size "
        f"(the largest is {largest.name}, {largest.memory_bytes >> 30} GiB: too little {short}); "
        "take fewer --slots or a smaller --target-size, or name a --vm-size"
    )


def _short_of(size: VmSize, need: Need, slots: int) -> list[str]:
    """Return what a size has too little of."""
    checks = {
        "memory": size.memory_bytes * NODE_MEMORY_MARGIN / slots >= need.memory_bytes,
        "cores": size.num_cores >= slots,
        "disk": size.disk_bytes >= NODE_DISK_BYTES + need.disk_bytes * slots,
        "network": size.network_bytes_per_second >= need.network_bytes_per_second * slots,
    }
    return [name for name, is_enough in checks.items() if not is_enough]


def could_hold(need: Need) -> str:
    """Return words on which size could hold a task, for those who are told that theirs cannot."""
    try:
        return f"{choose_vm_size(need, 1).name} could"
    except PoolTooSmall:
        return f"no known size could, the largest has {VM_SIZES[-1].memory_bytes >> 30} GiB"


def find_vm_size(name: str) -> VmSize | None:
    """Return a size by its name, None if it is not known here."""
    return next((size for size in VM_SIZES if size.name == name.lower()), None)


def slot_memory_bytes(vm_size: str, slots_per_node: int, node_memory_bytes: int | None) -> int:
    """Return what one slot of a pool's nodes has for a task.

    Raises:
        BadSetting: the size is unknown, and its memory is not given.
    """
    known = find_vm_size(vm_size)
    whole = node_memory_bytes or (known.memory_bytes if known else None)
    if whole is None:
        raise BadSetting(f"how much memory {vm_size} has is not known; give --node-memory")
    return int(whole * NODE_MEMORY_MARGIN / slots_per_node)


def slot_disk_bytes(vm_size: str, slots_per_node: int) -> int | None:
    """Return what one slot has of its node's temporary disk, None if that is not known."""
    known = find_vm_size(vm_size)
    if known is None:
        return None
    return max(0, known.disk_bytes - NODE_DISK_BYTES) // slots_per_node


def check_name(name: str) -> str:
    """Return a pool's name.

    Raises:
        BadSetting: Azure Batch would not take it.
    """
    if not _LEGAL_NAME.fullmatch(name):
        raise BadSetting(
            f"{name!r} is no name for a pool: 1 to 64 letters, digits, hyphens and underscores"
        )
    return name


def parse_container(text: str) -> str:
    """Return a container's image.

    Raises:
        BadSetting: it has no tag or digest of its own.
    """
    tag = text.rpartition("/")[2].partition(":")[2]
    if any(char.isspace() for char in text) or tag in ("", "latest"):
        raise BadSetting(
            f"container {text!r} is not SERVER/NAME:TAG or SERVER/NAME@sha256:DIGEST with a tag of "
            "its own (not latest: nodes of one pool would differ)"
        )
    return text


def parse_image(text: str) -> tuple[str, str, str, str]:
    """Return publisher, offer, SKU and version of an image.

    Raises:
        BadSetting: it is not all four, or the version is not pinned.
    """
    fields = text.split(":")
    if len(fields) != 4 or not all(fields) or fields[3] == "latest":
        raise BadSetting(
            f"image {text!r} is not PUBLISHER:OFFER:SKU:VERSION with a version of its own (not "
            "latest: nodes of one pool would differ); `evensplit batch images --location REGION` "
            "has them"
        )
    return fields[0], fields[1], fields[2], fields[3]


def parse_image_id(text: str) -> tuple[str]:
    """Return an image of one's own: its resource id, with a version where it has versions.

    Source: Use the Azure Compute Gallery to create a custom image pool
    (https://learn.microsoft.com/azure/batch/batch-sig-images).

    Raises:
        BadSetting: it is no such id, or leaves the version to the service.
    """
    version = re.search(r"/versions/([^/]+)$", text, re.IGNORECASE)
    is_managed = re.fullmatch(_MANAGED_IMAGE, text, re.IGNORECASE)
    is_gallery = re.match(_GALLERY, text, re.IGNORECASE) and version
    if not is_managed and not (is_gallery and version and version[1].lower() != "latest"):
        raise BadSetting(
            f"image {text!r} is not the resource id of an image in a gallery with its version "
            "(/subscriptions/…/galleries/…/images/…/versions/1.2.3, /SharedGalleries/…, "
            "/CommunityGalleries/…), or of a managed image (/subscriptions/…/images/…)"
        )
    return (text,)


def read_formula(name: str, conf: Path | None = None) -> str:
    """Return the template of a formula: a name in ``conf/batch/autoscale``, or a file.

    Args:
        name: of the formula, or a path.
        conf: instead of the one that :mod:`engine.conf` finds.

    Raises:
        BadSetting: there is none.
    """
    try:
        found = conf_file(_FORMULAS, f"{name}.txt", conf) or Path(name)
        return found.read_text(encoding="utf-8")
    except OSError as error:
        folders = conf_folders(_FORMULAS, conf)
        names = sorted({path.stem for folder in folders for path in folder.glob("*.txt")})
        raise BadSetting(
            f"no formula {name}: name a file, or one of {', '.join(names) or 'none here'}"
        ) from error


def fill_formula(template: str, parameters: Mapping[str, int]) -> str:
    """Return a formula with whole numbers for its parameters.

    Raises:
        BadSetting: one is not known, not given, or out of bounds.
    """

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name not in _PARAMETERS or name not in parameters:
            raise BadSetting(f"the formula's @{name}@ is none of {', '.join(_PARAMETERS)}")
        value, (least, most) = int(parameters[name]), _PARAMETERS[name]
        if not least <= value <= most:
            raise BadSetting(f"{name} is {value}; it must be {least} to {most}")
        return str(value)

    return _PLACE.sub(number, template)


def read_package(folder: Path) -> tuple[str, dict[str, bytes]]:
    """Return the name of a package, a hash of all that is in it, and its files.

    Raises:
        BadSetting: the folder does not hold a package.
    """
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()}
    wheels = [name for name in files if name.startswith("evensplit-") and name.endswith(".whl")]
    if len(wheels) != 1 or START_SCRIPT not in files or "constraints.txt" not in files:
        raise BadSetting(
            f"{folder} is no package: it needs one wheel of evensplit, constraints.txt and "
            f"{START_SCRIPT}; `make package` makes one"
        )
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return id_of("package", digests), files


def zip_package(files: Mapping[str, bytes]) -> bytes:
    """Return a package as an archive, what an application package is uploaded as."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:  # wheels are compressed
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()
