"""What the image is made of: it can be built from what the build may read, and it has the licences that its binary owes."""

import importlib.machinery
import importlib.util
import re
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LICENCES = {"LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY.txt"}


def copied():
    """What the Dockerfile copies from here: sources and target of each COPY."""
    for arguments in re.findall(r"^COPY (?!--from=)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = arguments.split()
        yield sources, target


def renderer():
    """scripts/render-licences, which has no ending that Python would know it by."""
    loader = importlib.machinery.SourceFileLoader("render_licences", str(ROOT / "scripts/render-licences"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Image(unittest.TestCase):
    def test_the_build_may_read_what_it_copies(self):
        nothing, *admitted = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
        self.assertEqual(nothing, "*")
        sources = {source for sources, _ in copied() for source in sources}
        self.assertEqual({f"!{source}" for source in sources}, set(admitted))
        for source in sources:
            self.assertTrue((ROOT / source).exists(), source)

    def test_the_licences_go_with_the_binary(self):
        beside = {target: set(sources) for sources, target in copied()}
        self.assertEqual(beside["/usr/share/doc/counter-api/"], LICENCES)
        self.assertIn("--from=build /build/COPYRIGHT-library.html /usr/share/doc/counter-api/rust-standard-library.html", DOCKERFILE)

    def test_licences_are_checked_and_shown_for_the_same_platforms(self):
        checked = tomllib.loads((ROOT / "deny.toml").read_text())["graph"]["targets"]
        self.assertEqual(checked, list(renderer().PLATFORMS))


class Licences(unittest.TestCase):
    """scripts/render-licences refuses what it has no text for."""

    def setUp(self):
        self.declared = renderer().declared

    def test_a_crate_without_a_copy_of_mit_keeps_its_authors(self):
        text = self.declared({"name": "one", "license": "MIT", "authors": ["Ada <ada@example.com>", "Bob"]})
        self.assertIn("Copyright (c) Ada <ada@example.com>, Bob\n", text)
        self.assertNotIn("Counter API", text)

    def test_one_of_several_licences_will_do(self):
        for choice in ("MIT OR Apache-2.0", "MIT/Apache-2.0", "Apache-2.0"):
            self.assertIn("Apache License", self.declared({"name": "one", "license": choice, "authors": []}))

    def test_a_crate_that_owes_another_text_is_refused(self):
        owed = ("BSD-3-Clause", ["Ada"]), ("MIT AND BSD-3-Clause", ["Ada"]), ("Apache-2.0 AND MIT", ["Ada"]), ("MIT", []), (None, ["Ada"])
        for licence, authors in owed:
            with self.assertRaisesRegex(SystemExit, "one comes without its licence"):
                self.declared({"name": "one", "license": licence, "authors": authors})


if __name__ == "__main__":
    unittest.main()
