"""Settings from a TOML file, as click's default map: below options and environment.

``[split]`` and the like name commands; keys are the options' names with underscores. Keys at the
top, and tables that are an option's value (``[storage_options]``), apply to every command.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from engine.errors import BadSetting
from engine.options import OPTIONS
from engine.wording import choice_hint

TABLES = {option.name for option in OPTIONS.values() if option.kind == "pairs"}
DEFAULT_PATHS = (Path("evensplit.toml"), Path("conf/evensplit.toml"))


def load_config(path: str | None) -> dict[str, Any]:
    """Return click's default map from a file, or from the first default file that exists.

    Raises:
        BadSetting: the file that was named is missing, or is not TOML, or holds unknown keys.
    """
    if path is None:
        found = next((candidate for candidate in DEFAULT_PATHS if candidate.is_file()), None)
        if found is None:
            return {}
    else:
        found = Path(path)
    try:
        data = tomllib.loads(found.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadSetting(f"no configuration file at {found}") from error
    except OSError as error:
        raise BadSetting(f"{found} cannot be read: {error.strerror}; name a TOML file") from error
    except ValueError as error:
        raise BadSetting(f"{found} is no TOML: {error}") from error
    return default_map(data, str(found))


def _settings_of(command: click.Command) -> set[str]:
    options = (param for param in command.params if isinstance(param, click.Option))
    return {param.name or "" for param in options if not param.hidden}


def default_map(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Turn the file's content into a map by command, top-level keys applied to each command."""
    from engine.cli.commands import ALL

    known = {command.name or "": _settings_of(command) for command in ALL}
    shared = {
        key: item for key, item in data.items() if not isinstance(item, dict) or key in TABLES
    }
    for key in shared:
        if not any(key in names for names in known.values()):
            every = {name for names in known.values() for name in names}
            raise BadSetting(f"{where}: unknown setting {key}; {choice_hint(key, sorted(every))}")
    out: dict[str, Any] = {}
    for name, names in known.items():
        section = data.get(name, {})
        for key in section:
            if key not in names:
                hint = choice_hint(key, sorted(names))
                raise BadSetting(f"{where}: unknown setting {key} in [{name}]; {hint}")
        found = {key: item for key, item in shared.items() if key in names} | section
        out[name] = {  # one value of an option that may be given several times
            key: [item] if key in TABLES and not isinstance(item, list) else item
            for key, item in found.items()
        }
    for name, item in data.items():
        if isinstance(item, dict) and name not in known.keys() | TABLES:
            hint = choice_hint(name, known)
            raise BadSetting(f"{where}: unknown section [{name}]; {hint}")
    return out
