"""What a run came to, in sentences on standard output.

Tables are in :mod:`engine.cli.tables`, progress is in :mod:`engine.cli.progress`.
"""

from __future__ import annotations

from engine.cli.tables import parts_of
from engine.cli.terminal import say
from engine.model import Manifest, SplitResult, Verification, copied_share, num_partitions
from engine.wording import amount as size
from engine.wording import counted, memory_amount, percent, rows_of


def step(text: str) -> None:
    """Print a heading of the demo."""
    say("", text, bold=True)


def split_result(result: SplitResult) -> None:
    """Print what a split did."""
    manifest: Manifest = result.manifest
    sizes = [part.size_bytes for part in manifest.parts]
    number = num_partitions(manifest.parts)
    encoded = sum(part.reencoded_bytes for part in manifest.parts)
    were = "was" if result.num_resumed == 1 else "were"
    resumed = f" ({result.num_resumed} {were} there already)" if result.num_resumed else ""
    parts = parts_of(sizes, manifest.spread, resumed, num_partitions=number)
    rate = manifest.size_bytes / max(result.elapsed_seconds, 1e-9)
    say(
        f"{parts}, {rows_of(manifest.num_rows)}, "
        f"in {result.elapsed_seconds:.1f} s"
        + (f" ({size(int(rate))}/s)" if not result.num_resumed else ""),
        f"{percent(copied_share(manifest.parts))} of the bytes copied as they were, "
        f"{size(encoded)} re-encoded; peak memory {memory_amount(result.peak_memory_bytes)}",
        result.destination,
        *result.loads,
    )
    for note in sorted({note for part in manifest.parts for note in part.store_notes}):
        say(note, fg="yellow")
    for note in manifest.source_notes:
        say(note, fg="yellow")
    for item in manifest.lost:
        say(f"not kept: {item}", fg="yellow")
    for sentence in filter(None, (manifest.growth, manifest.advice)):
        say(sentence, fg="yellow")


def verification(result: Verification) -> None:
    """Print what was proved, and what had to be mended before."""
    for part in result.repaired:
        say(f"{part} was missing or different, and is written anew")
    say(
        f"equal: {counted(result.num_parts, 'part')} hold{'s' if result.num_parts == 1 else ''} "
        f"{'the' if result.num_rows == 1 else 'all'} {counted(result.num_rows, 'row')} of the "
        "source in order; "
        f"{result.compared} compared in {result.elapsed_seconds:.1f} s",
        mark="equal:",
        fg="green",
        bold=True,
    )


def demo_end(place: str, *, keep: bool) -> None:
    """Print where the demo's files are."""
    if keep:
        say("", f"Sample and parts are kept in {place}.")
    else:
        say("", "Sample and parts were removed again; `evensplit demo FOLDER` keeps them.")
