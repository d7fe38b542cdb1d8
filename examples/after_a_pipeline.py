"""Split what a pipeline wrote, and say so: ``after_a_pipeline.py big.parquet parts/``.

The exit code says what a scheduler is to do: 0 go on, 5 the same again, else call somebody.
"""

import json
import sys
from pathlib import Path

import evensplit


def main(source: str, destination: str) -> int:
    try:
        result = evensplit.split(source, destination, target_size="100MB", verify=True)
    except evensplit.EvensplitError as error:
        print(json.dumps(error.as_dict()), file=sys.stderr)
        return error.exit_code
    parts = [{"name": part.name, "rows": part.num_rows} for part in result.manifest.parts]
    Path(destination, "_ready.json").write_text(json.dumps(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
