"""What a task and a job are, as frozen data, and their ids: hashes of every field.

Same spec, same id: so a repeated command finds what it made before, and a spec that differs in
anything at all (a source's version, a setting, the number of slots) never meets another's result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

from engine import BadSetting
from engine.options import SourceOptions, options_of

_ID_HEX_DIGITS = 40  # with the longest prefix well below the 64 characters that Batch allows

CONTAINER_PREFIX = "container:"  # before an image, where a task names what runs it
_OPTIONS = {option.name: option for option in options_of("batch")}


def id_of(prefix: str, data: Any) -> str:
    """Return an id that any change of plain data changes."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:_ID_HEX_DIGITS]}"


def checked_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a split's settings as JSON keeps them, those that are None left out.

    Raises:
        BadSetting: a name is unknown, or a value is not one of its option's.
    """
    found = {}
    for name, value in given.items():
        if name not in _OPTIONS:
            raise BadSetting(f"a task has no setting {name!r}; it has {', '.join(_OPTIONS)}")
        if value is not None:
            found[name] = _OPTIONS[name].plain(value)
    return found


def source_options_of(settings: Mapping[str, Any]) -> SourceOptions:
    """Return those of a split's settings that say which files are meant, and how to reach them."""
    names = SourceOptions.__annotations__.keys() & settings.keys()
    return cast("SourceOptions", {name: settings[name] for name in names})


@dataclass(frozen=True)
class FileSplit:
    """One source file and where its parts go.

    ``version`` changes with the content (modification time or ETag); empty where nobody looked.
    """

    source: str
    destination: str
    version: str = ""
    size_bytes: int = 0


@dataclass(frozen=True)
class TaskSpec:
    """Files that one task splits, one after another, and how.

    Attributes:
        files: usually one; several small ones may share a task.
        settings: of each split, by the façade's names.
        num_slots: of the node's task slots that it takes.
        package: name of the package that runs it (version and hash), ``container:IMAGE``, or empty
            for what is installed.
    """

    files: tuple[FileSplit, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    num_slots: int = 1
    package: str = ""

    @property
    def id(self) -> str:
        """Its name everywhere."""
        return id_of("split", asdict(self))

    @property
    def size_bytes(self) -> int:
        """Of all its source files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def title(self) -> str:
        """A few words for people."""
        first = self.files[0].source
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"

    def to_json(self) -> str:
        """Return the text that a node is given."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TaskSpec:
        """Read what :meth:`to_json` wrote.

        Raises:
            BadSetting: the text is anything else.
        """
        try:
            data = json.loads(text)
            files = tuple(FileSplit(**item) for item in data.pop("files"))
            settings = checked_settings(data.pop("settings", {}))
            found = cls(files=files, settings=settings, **data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadSetting(
                f"the task's spec cannot be read ({error}); it is JSON with "
                f"{', '.join(item.name for item in fields(cls))}"
            ) from error
        if not files or not all(file.source and file.destination for file in files):
            raise BadSetting("the task's spec names no file, or one without source or destination")
        return found


@dataclass(frozen=True)
class JobSpec:
    """One call of submit, and what holds for each of its tasks.

    The tasks are no fields: a source that was mended or added is another task of the same job, so
    that all others are found done.

    Attributes:
        sources: as they were named; their order does not matter.
        destination: where the folders of parts go.
        settings: of each split.
        pool_id: where they run.
        slots_per_node: task slots of the pool's nodes.
        max_retries: of a task that ends with an error; a lost node is not counted.
        max_task_seconds: wall-clock limit of one task.
        retention_seconds: how long a node keeps a task's files.
        max_job_seconds: wall-clock limit of the whole job, 0 for none.
        outputs_url: container for stdout, stderr and results, empty for none.
        identity: resource id of the pool's managed identity that may write there.
        client_id: of the pool's managed identity that reads and writes data, where it has several.
        labels: names and values for people and their bills, kept as the job's metadata.
        attempt: counts calls that found the job before ended, and tasks to do.
    """

    sources: tuple[str, ...]
    destination: str
    settings: Mapping[str, Any]
    pool_id: str
    slots_per_node: int = 1
    max_retries: int = 2
    max_task_seconds: int = 24 * 3600
    retention_seconds: int = 7 * 24 * 3600
    max_job_seconds: int = 0
    outputs_url: str = ""
    identity: str = ""
    client_id: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    attempt: int = 0
    prefix: str = "evensplit"

    @property
    def id(self) -> str:
        """Its name everywhere."""
        return id_of(self.prefix, asdict(self) | {"sources": sorted(self.sources)})


@dataclass(frozen=True)
class SupportedImage:
    """An image of the marketplace, and what Azure Batch says of it; its version is not part of it.

    Attributes:
        publisher, offer, sku: its name, in small letters.
        agent: SKU of the Batch agent that belongs to it.
        is_verified: whether the service tests the two together.
        runs_containers: whether tasks can run in containers.
        end_date: from which on the service takes it no more, empty if none is known.
    """

    publisher: str
    offer: str
    sku: str
    agent: str
    is_verified: bool = True
    runs_containers: bool = False
    end_date: str = ""

    @property
    def title(self) -> str:
        """Publisher, offer and SKU, as ``--image`` takes them before the version."""
        return f"{self.publisher}:{self.offer}:{self.sku}"


@dataclass(frozen=True)
class PoolSpec:
    """A pool: nodes of one size, how many, and what is installed on them.

    Attributes:
        vm_size: of every node.
        image: publisher, offer, SKU and version of the system, the version pinned; or one resource
            id, of an image in a gallery.
        agent: SKU of the Batch agent that belongs to the image.
        slots_per_node: tasks at once on a node.
        num_dedicated: nodes; 0 while a formula decides.
        num_spot: nodes that may be taken away at any time; 0 while a formula decides.
        formula: autoscale formula as text, empty for fixed numbers.
        package: name of the package that the start task installs; empty for a container.
        package_container: container of the account's own storage that holds the package, or with
            ``identity`` its URL.
        application: ``NAME:VERSION`` of the application package that holds the package, instead.
        container: image that tasks run in, tag or digest pinned, instead of a package.
        registry: server of the image, if it needs a login: that of ``identity``.
        identity: resource id of the user-assigned managed identity of the nodes.
    """

    vm_size: str
    image: tuple[str, ...]
    agent: str
    slots_per_node: int = 1
    num_dedicated: int = 0
    num_spot: int = 0
    formula: str = ""
    package: str = ""
    package_container: str = ""
    application: str = ""
    container: str = ""
    registry: str = ""
    identity: str = ""

    @property
    def id(self) -> str:
        """Its name, unless the user gives one."""
        return id_of("evensplit", asdict(self))

    @property
    def program(self) -> str:
        """What :attr:`TaskSpec.package` says of tasks that run here."""
        return f"{CONTAINER_PREFIX}{self.container}" if self.container else self.package


@dataclass(frozen=True)
class LivePool:
    """A pool that is there.

    Attributes:
        id: its name.
        spec: what it was made as, in so far as evensplit makes pools.
        num_nodes: that it has, or has asked for.
    """

    id: str
    spec: PoolSpec
    num_nodes: int
