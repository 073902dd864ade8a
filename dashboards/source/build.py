"""Writes the dashboards, `dashboards/*.json`, or says with `--check` which of them are not what would be written."""

import json
import sys
from pathlib import Path

import accounts
import common
import loadtest
import mongodb
import overview
import runtime

FOLDER = Path(__file__).resolve().parents[1]
MODULES = {"overview": overview, "mongodb": mongodb, "runtime": runtime, "accounts": accounts, "loadtest": loadtest}


def texts():
    """The text of each file."""
    built = {FOLDER / f"{common.UIDS[name]}.json": module.build() for name, module in MODULES.items()}
    return {path: json.dumps(board, indent=2, ensure_ascii=False) + "\n" for path, board in built.items()}


def main():
    stale = [path for path, text in texts().items() if not path.exists() or path.read_text() != text]
    known = set(texts())
    stray = [path for path in FOLDER.glob("*.json") if path not in known]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is not what dashboards/source makes: run `make dashboards-json`")
        for path in stray:
            print(f"{path.name} is made by nothing in dashboards/source")
        return 1 if stale or stray else 0
    for path, text in texts().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
