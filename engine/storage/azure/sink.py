"""A part as a block blob: blocks staged side by side, published by one conditional commit.

Nothing is visible before the commit. It replaces only what stood there when the part was begun
(usually nothing), and carries a digest of its blocks: where an answer was lost, or another worker
wrote the same part, the blob that stands there is compared by it before anything counts as a
conflict. Blocks that were never committed are invisible, cost storage for a week and vanish then.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import (
    Conflict,
    EvensplitError,
    Immutable,
    InternalError,
    NoSource,
    StorageFailed,
)
from engine.model import Buffer
from engine.settings import Access
from engine.storage.azure.blocks import (
    MAX_BLOCKS,
    Block,
    Composer,
    Piece,
    SourceRange,
    length_of,
)
from engine.storage.azure.request_pool import BLOCK_BYTES, MAX_IN_FLIGHT, request_pool
from engine.storage.azure.requests import error_code, with_retries
from engine.storage.azure.source import AzureSource, version_of
from engine.storage.base import SPARSE_GAP_BYTES, Source, check_inside, read_coalesced, redacted

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import BlobBlock, BlobClient

CONTENT = "evensplit_content"  # metadata: digest of the blocks
WRITER = "evensplit_writer"  # metadata: which sink committed them
COPY_SECONDS = 600  # for the service to answer that it has copied a block
_LOOK_BACK = 2 * MAX_IN_FLIGHT  # what was submitted earlier has been looked at already
# The service copies from nowhere, not from this source, or not with this authorization.
_REFUSED_STATUS = {400, 401, 403, 404, 409, 501}
# An answer was lost, or another worker was first; what is committed may be immutable from then on.
_MAYBE_OURS = (Conflict, Immutable, StorageFailed)
_refused: dict[tuple[str, str], str] = {}


class AzureSink:
    """A part in the making; see :class:`engine.storage.base.PartSink`."""

    def __init__(self, blob: BlobClient, path: str, access: Access, etag: str | None) -> None:
        """``etag`` is that of the blob which the part replaces, if there is one."""
        self.size_bytes = 0
        self.notes: tuple[str, ...] = ()
        self._blob = blob
        self._path = path
        self._transfer = access.transfer
        self._etag = etag
        self._token = secrets.token_hex(16)
        self._composer = Composer(self._may_copy)
        self._staged: list[Future[list[BlobBlock]]] = []  # without the bytes themselves
        self._any_copied = False
        self._stop = threading.Event()

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        self._add(bytes(data))

    def copy(self, source: Source, offset: int, length: int) -> None:
        """Append bytes of a source: by the service where it may, else through this machine."""
        check_inside(offset, length, source.file.size_bytes)
        self._add(SourceRange(source, offset, length))

    def _add(self, piece: Piece) -> None:
        self.size_bytes += length_of(piece)
        self._stage(self._composer.add(piece))

    def _stage(self, blocks: Any) -> None:
        for block in blocks:
            for future in self._staged[-_LOOK_BACK:]:
                if future.done():
                    future.result()
            self._any_copied |= block.is_copied
            self._staged.append(request_pool.submit(partial(self._stage_block, block)))

    def read_back(self, offsets: Sequence[int], length: int) -> None:
        """Return None: blocks that are staged cannot be read."""

    def seal(self) -> None:
        """Send what is gathered, and wait for all blocks."""
        self._stage(self._composer.finish())
        for future in self._staged:
            future.result()

    def commit(self) -> str | None:
        """Wait for all blocks, then publish them in one request."""
        self.seal()
        blocks = [block for future in self._staged for block in future.result()]
        if len(blocks) > MAX_BLOCKS:
            raise InternalError(f"{redacted(self._path)} would have {len(blocks)} blocks")
        digest = hashlib.sha256("\n".join(block.id for block in blocks).encode()).hexdigest()
        try:
            if self._any_copied:
                self._check_sizes(blocks)
            etag = with_retries(self._path, partial(self._commit, blocks, digest))
        except _MAYBE_OURS:  # an answer was lost, or another worker was first
            stands, found = self._standing()
            if found.get(CONTENT) != digest:
                raise
            etag = stands if found.get(WRITER) == self._token else ""
        self._staged.clear()
        return version_of(etag) if etag else None

    def abort(self) -> None:
        """Stage nothing more; what is staged stays invisible."""
        self._stop.set()
        for future in self._staged:
            future.cancel()
        for future in self._staged:
            with suppress(EvensplitError):
                if not future.cancelled():
                    future.result()
        self._staged.clear()

    def _commit(self, blocks: Sequence[BlobBlock], digest: str) -> str:
        from azure.core import MatchConditions

        condition: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        if self._etag is not None:
            condition = {"etag": self._etag, "match_condition": MatchConditions.IfNotModified}
        about = {CONTENT: digest, WRITER: self._token}
        answer = self._blob.commit_block_list(list(blocks), metadata=about, **condition)
        return str(answer["etag"])

    def _standing(self) -> tuple[str, dict[str, str]]:
        """Return the ETag of what stands there now, and what is said about it."""
        try:
            found = with_retries(self._path, self._blob.get_blob_properties)
        except NoSource:
            return "", {}
        return found.etag, found.metadata or {}

    def _check_sizes(self, blocks: Sequence[BlobBlock]) -> None:
        """Compare what the service holds with what was asked for: it may copy less in silence."""
        _, found = with_retries(self._path, partial(self._blob.get_block_list, "uncommitted"))
        stored = {block.id: block.size for block in found}
        for block in blocks:
            if stored.get(block.id) != block.size:
                raise StorageFailed(
                    f"{redacted(self._path)}: the store holds {stored.get(block.id, 'no')} bytes "
                    f"of a block of {block.size}; run the same command again"
                )

    # -- in the pool --------------------------------------------------------------------------

    def _stage_block(self, block: Block) -> list[BlobBlock]:
        """Stage a block, or several small ones in its place; return what is to be committed."""
        if block.is_copied and self._have_copied(block):
            return [_listed(block.id, block.num_bytes)]
        if block.num_bytes <= BLOCK_BYTES:
            return [self._upload(block.id, block.pieces)]
        return [self._upload(*some) for some in block.split(BLOCK_BYTES)]

    def _upload(self, block_id: str, pieces: Sequence[Piece]) -> BlobBlock:
        data = _content_of(pieces)

        def send() -> None:
            self._blob.stage_block(block_id, data, len(data), validate_content=True)

        with_retries(self._path, send, self._stop)
        return _listed(block_id, len(data))

    def _may_copy(self, source: Source) -> bool:
        if not isinstance(source, AzureSource) or self._transfer == "client":
            return False
        reason = _refused.get(self._route(source)) if self._transfer == "auto" else None
        if reason is not None:
            self._note(reason)
        return reason is None

    def _have_copied(self, block: Block) -> bool:
        """Have the service copy a block; return False if it will not, and may be asked not to."""
        from azure.core.exceptions import HttpResponseError

        (piece,) = block.pieces
        assert isinstance(piece, SourceRange)
        assert isinstance(piece.source, AzureSource)
        if not self._may_copy(piece.source):
            return False
        reason = ""

        def send() -> None:
            nonlocal reason
            try:
                self._copy_block(block.id, piece)
            except HttpResponseError as error:
                if self._transfer != "auto" or not _is_refusal(error):
                    raise
                reason = error_code(error) or f"status {error.status_code}"

        try:
            with_retries(self._path, send, self._stop)
        except Conflict:
            # The source's condition failed, not one of this blob: nothing is committed yet.
            piece.source.check_unchanged()
            raise
        if reason:
            _refused[self._route(piece.source)] = reason
            self._note(reason)
        return not reason

    def _copy_block(self, block_id: str, piece: SourceRange) -> None:
        assert isinstance(piece.source, AzureSource)
        self._blob.stage_block_from_url(
            block_id,
            source_offset=piece.offset,
            source_length=piece.length,
            headers={"x-ms-source-if-match": piece.source.etag},
            read_timeout=COPY_SECONDS,
            **piece.source.authorization(),
        )

    def _route(self, source: AzureSource) -> tuple[str, str]:
        return source.endpoint, self._blob.primary_hostname

    def _note(self, reason: str) -> None:
        self.notes = (
            f"the store refused to copy by itself ({reason}), so bytes passed through this machine",
        )


def _is_refusal(error: HttpResponseError) -> bool:
    """Whether an error means that this copy is not to be had, rather than that it failed."""
    return error.status_code in _REFUSED_STATUS and error_code(error) != "ConditionNotMet"


def _listed(block_id: str, size_bytes: int) -> BlobBlock:
    from azure.storage.blob import BlobBlock

    block = BlobBlock(block_id)
    block.size = size_bytes
    return block


def _content_of(pieces: Sequence[Piece]) -> bytes:
    """Return the bytes of a block: ranges of one source that lie near are read at once."""
    from engine.model import Range

    ranges: dict[int, list[tuple[int, SourceRange]]] = {}
    found: list[bytes] = [b"" if isinstance(piece, SourceRange) else piece for piece in pieces]
    for at, piece in enumerate(pieces):
        if isinstance(piece, SourceRange):
            ranges.setdefault(id(piece.source), []).append((at, piece))
    for wanted in ranges.values():
        places = [Range(piece.offset, piece.length) for _, piece in wanted]
        read = wanted[0][1].source.read
        contents = read_coalesced(read, places, gap_bytes=SPARSE_GAP_BYTES)
        for (at, _), data in zip(wanted, contents, strict=True):
            found[at] = data
    return found[0] if len(found) == 1 else b"".join(found)
