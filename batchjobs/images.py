"""Which system nodes run: the images that Azure Batch supports, and the one a pool should have.

Pure; lists come from :mod:`batchjobs.client`. The service names an image without its version, or
with ``latest``; versions are Azure Compute's, and only pinned ones get into a pool.

Source: Account - List Supported Images
(https://learn.microsoft.com/rest/api/batchservice/account/list-supported-images); container-capable
images (https://learn.microsoft.com/azure/batch/batch-docker-container-workloads).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from batchjobs.spec import SupportedImage
from engine import BadSetting

# Taken where no account says what it supports: none is there before the first deployment.
UBUNTU = SupportedImage("canonical", "ubuntu-24_04-lts", "server", "batch.node.ubuntu 24.04")
UBUNTU_HPC = SupportedImage(
    "microsoft-dsvm", "ubuntu-hpc", "2204", "batch.node.ubuntu 22.04", runs_containers=True
)

# The Python that comes with the system of an agent, for those that a package may meet.
_PYTHONS: Mapping[str, tuple[int, int]] = {
    "batch.node.ubuntu 20.04": (3, 8),
    "batch.node.ubuntu 22.04": (3, 10),
    "batch.node.ubuntu 24.04": (3, 12),
    "batch.node.debian 11": (3, 9),
    "batch.node.debian 12": (3, 11),
}
_LEAST_PYTHON = (3, 11)
_WHEEL_PYTHON = re.compile(r"-cp(\d)(\d+)-cp\1\2-")  # of wheels that only one Python takes
_VERSION = re.compile(r"\d+(\.\d+)*")


def choose_image(
    supported: Iterable[SupportedImage] | None, *, for_containers: bool
) -> SupportedImage:
    """Return the image that nodes should run.

    Args:
        supported: what the account's service supports, None where there is no account yet.
        for_containers: whether tasks run in containers, which not every image can.

    Raises:
        BadSetting: the service supports it no more, or has not verified it.
    """
    wanted = UBUNTU_HPC if for_containers else UBUNTU
    if supported is None:
        return wanted
    fitting = [
        image
        for image in supported
        if image.is_verified and (image.publisher, image.offer) == (wanted.publisher, wanted.offer)
    ]
    if for_containers:  # their system's Python does not matter: the newest
        fitting = sorted((i for i in fitting if i.runs_containers), key=lambda i: (i.sku, i.agent))
    else:
        fitting = [i for i in fitting if (i.sku, i.agent) == (wanted.sku, wanted.agent)]
    if fitting:
        return fitting[-1]
    raise BadSetting(
        f"Azure Batch has no verified image {wanted.title} with the agent {wanted.agent} here; "
        "choose one of `evensplit batch images` by --image and --agent"
    )


def newest(versions: Iterable[str], title: str) -> str:
    """Return the newest of an image's versions: numbers between dots, compared as numbers.

    Raises:
        BadSetting: there is none.
    """
    found = [text for text in versions if _VERSION.fullmatch(text)]
    if not found:
        raise BadSetting(f"image {title} has no version in this region; name another by --image")
    return max(found, key=lambda text: [int(number) for number in text.split(".")])


def check_containers(image: Sequence[str], supported: Iterable[SupportedImage]) -> None:
    """Refuse an image of the marketplace that the service says runs no containers.

    Raises:
        BadSetting: it is one.
    """
    same = [item for item in supported if item.title == ":".join(image[:3]).lower()]
    if same and not any(item.runs_containers for item in same):
        raise BadSetting(
            f"image {':'.join(image)} has nothing that runs containers; take one with `containers` "
            "in `evensplit batch images`"
        )


def check_python(files: Iterable[str], image: Sequence[str], agent: str) -> None:
    """Refuse a package whose wheels are for another Python than the agent's system has.

    Args:
        files: names of a package's files.
        image: that nodes run; what one of your own has is not known, and not judged.
        agent: SKU of the Batch agent; likewise one that is not known.

    Raises:
        BadSetting: nodes could not install it.
    """
    python = _PYTHONS.get(agent)
    if python is None or len(image) == 1:
        return
    has = f"the system of {agent} has Python {python[0]}.{python[1]}"
    if python < _LEAST_PYTHON:
        raise BadSetting(
            f"{has}, and evensplit needs {_LEAST_PYTHON[0]}.{_LEAST_PYTHON[1]}: take "
            f"{UBUNTU.agent} with its image, or an image of your own (--image-id) whose python3 is "
            "newer"
        )
    built = {tuple(map(int, found)) for file in files for found in _WHEEL_PYTHON.findall(file)}
    other = sorted(built - {python})
    if other:
        raise BadSetting(
            f"{has}, and the package is for {other[0][0]}.{other[0][1]}: `make package "
            f"NODE_PYTHON={python[0]}.{python[1]}`"
        )
