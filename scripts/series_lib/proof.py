# SPDX-License-Identifier: GPL-2.0
"""Prove that files, commits and mails say the same."""

import os
import re
from pathlib import Path

from series_lib import common
from series_lib.commits import build, parts, touched
from series_lib.common import Problem, indent, note, raw
from series_lib.files import regenerate, same, write
from series_lib.git import Repo, Scratch, lend
from series_lib.model import OVERLAY_DIRS, Series
from series_lib.order import invariants


def prove(scratch, tip, files):
    """Raise a Problem unless the files give the very commits that they came from."""
    stage = scratch.path / "stage"
    write(stage, files)
    series = Series(stage)
    overlay = {name for name in files if not name.startswith("series/")}
    wrong = invariants(series, overlay, scratch)
    if wrong:
        raise Problem("\nseries: ".join(wrong))
    for entry, want, got in zip(series.entries, scratch.contents(scratch.base, tip),
                                scratch.contents(scratch.base, build(series, scratch))):
        if want != got:
            part = "message" if want[0] == got[0] else "change"
            raise Problem(f"the {part} of {entry.patch} does not survive as a mail (look "
                          "for lines like '---', 'diff -' or 'From:' in its message)")


def refuse_loss(tree, series, files):
    """Raise a Problem where writing the files would lose work in the project."""
    with Scratch(tree, tree.EXPORTED_BASE) as scratch:
        try:
            project = scratch.contents(scratch.base, build(series, scratch))
        except (Problem, OSError):
            project = None  # Edited, and not in order.
    if project not in (tree.exported(), tree.contents(tree.BASE, "HEAD")):
        raise Problem("overlay or series/ were edited since they and "
                      f"{tree.path} last agreed: move those edits there, or "
                      "`make refresh FORCE=1` (--force) overwrites them")
    for name, value in files.items():
        path = common.ROOT / name
        if (name not in series.listed() and name.split("/")[0] in OVERLAY_DIRS
                and os.path.lexists(path) and not same(path, *value)):
            raise Problem(f"{name} is in the overlay already, under no commit and with "
                          "other content: `make refresh FORCE=1` (--force) overwrites it")


def compare_am(series, scratch, tip, out):
    """Raise a Problem unless git am of the mails in `out`, with their directories in
    order, gives the commits of base..tip. The sender may have signed off."""
    env = {k: v for k, v in scratch.env.items() if k != "GIT_DIR"}
    am = Repo(scratch.path / "am", env)
    am.path.mkdir()
    am.git("init", "-q", "--template=", "--object-format="
           + scratch.git("rev-parse", "--show-object-format").strip())
    lend(scratch, am.path / ".git")
    base = am.narrowed(scratch.base, touched(series, scratch))
    am.git("reset", "-q", "--hard", base)
    for part, number, _, _ in parts(series, scratch, tip):
        names = sorted(str(path) for path in (out / f"{number:02}-{part.name}").iterdir())
        covers = [name for name in names if re.match(r"(v\d+-)?0000-", Path(name).name)]
        # b4 sends a patch that is alone without one.
        wanted = (1,) if len(part.entries) > 1 else (0, 1)
        if len(covers) not in wanted or len(names) != len(part.entries) + len(covers):
            raise Problem(f"{out}/{number:02}-{part.name} has {len(names)} mails, with "
                          f"{len(covers)} cover letters, for {len(part.entries)} patches")
        am.git("am", "-q", *(name for name in names if name not in covers))
    for entry, want, got in zip(series.entries, scratch.contents(scratch.base, tip),
                                am.contents(base, "HEAD")):
        changes, message = got
        if want not in (got, (changes, re.sub(r"\s+Signed-off-by: [^\n]*$", "", message))):
            part = "another message" if want[0] == changes else "other changes"
            raise Problem(f"git am gives {part} than series/{entry.patch} does")


def compare_files(series, scratch, tip):
    """Raise a Problem unless a refresh would leave every file as it is."""
    files = regenerate(scratch, tip, series)
    moved, differ = [], []
    for name in sorted(files.keys() | series.listed()):
        if name in files and same(common.ROOT / name, *files[name]):
            continue
        if name in files and name.endswith(".patch") and (common.ROOT / name).is_file() and (
                shape(files[name][0]) == shape((common.ROOT / name).read_bytes())):
            moved.append(name)
        else:
            differ.append(name)
    if differ:
        raise Problem("`make tree` and `make refresh` would change:" + indent(differ))
    if moved:
        note("series: these were made on another point release, or for overlay files that were "
             "edited since, and apply with other line numbers or blob ids:" + indent(moved))


def shape(patch):
    """A patch without what differs between point releases: blob ids, positions."""
    patch = re.sub(rb"(?m)^index [0-9a-f]+\.\.[0-9a-f]+", b"index", patch)
    return re.sub(rb"(?m)^@@ -\d+(,\d+)? \+\d+(,\d+)? @@.*$", rb"@@\1 \2", patch)
