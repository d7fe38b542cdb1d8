"""Presets: what a warehouse's own documents ask of files, as options of a split.

One file each in ``conf/presets``, of which a copy in ``conf/presets`` of the current folder wins;
people add their own there. ``document`` is where the figures are from, each quoted beside it; the
table ``options`` has keys of :data:`KEYS`. Options that are given besides win.

Not covered: whether a document still says so. Those of ours ask for no codec: whatever has another
would be re-encoded.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

from engine.conf import conf_file, conf_folders
from engine.errors import BadSetting
from engine.wording import choice_hint

FOLDER = "presets"
_NAME = re.compile(r"[\w-]{1,100}")
KEYS = ("target_size", "least_part_size", "row_group_size", "codec", "codec_level")


def read_preset(name: str, check: Callable[[str, Any], object]) -> dict[str, Any]:
    """Return the options of a preset.

    Args:
        name: of its file, without the ending.
        check: raises BadSetting of a value that the option of a key cannot have.

    Raises:
        BadSetting: there is none of that name, or it is no preset.
    """
    path = conf_file(FOLDER, f"{name.lower()}.toml") if _NAME.fullmatch(name) else None
    if path is None or not path.is_file():
        raise BadSetting(f"there is no preset {name!r}; {choice_hint(name, preset_names())}")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSetting(f"{path} is no TOML: {error}") from error
    options = data.get("options", {})
    if not isinstance(options, dict):
        raise BadSetting(f"{path}: options is no table; write [options]")
    others = [*(data.keys() - {"document", "options"}), *(set(options) - set(KEYS))]
    if others and others[0] in KEYS:
        raise BadSetting(f"{path}: {others[0]} stands outside of [options]; move it there")
    if others:
        raise BadSetting(f"{path}: a preset has no {others[0]}; {choice_hint(others[0], KEYS)}")
    for key, value in options.items():
        try:
            check(key, value)
        except BadSetting as error:
            raise BadSetting(f"{path}, {key}: {error}") from None
    return dict(options)


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(
        {path.stem for it in conf_folders(FOLDER) for path in it.glob("*.toml") if path.is_file()}
    )
