"""The quick checks of the dashboards, which start nothing: they are what their source makes, Grafana's own types read every
key of them, and the rules of tests/dashboards/lint.py hold.
"""

import subprocess
import sys

import lint
import schema
from board import ROOT, boards, queries


def main():
    source = subprocess.run([sys.executable, ROOT / "dashboards" / "source" / "build.py", "--check"], text=True,
                            stdout=subprocess.PIPE)
    found = [*source.stdout.splitlines(), *schema.findings(), *lint.findings()]
    for finding in found:
        print(finding)
    count = sum(len(list(queries(board))) for board in boards().values())
    print(f"dashboards: {len(boards())} files, {count} expressions, {len(found)} findings")
    return 1 if found or source.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
