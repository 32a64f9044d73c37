# SPDX-License-Identifier: GPL-2.0
"""From commits to files."""

import contextlib
import os
import re
import stat

from series_lib.common import Problem, raw
from series_lib.git import DIFF, tidy
from series_lib.model import OVERLAY_DIRS


def regenerate(scratch, tip, series):
    """The files that say base..tip: {path: (content, is executable)}; with the parts
    that `series` has."""
    files, names = {}, series.header
    overlay = changes(scratch, scratch.base, tip, "--diff-filter=A")
    log = scratch.git("log", "-z", "--reverse", "--format=%H%n%f%n%s%n%b",
                      f"{scratch.base}..{tip}")
    commits = [record.split("\n", 3) for record in log.split("\0") if record]
    slugs = [slug[:52].rstrip("-.") + ".patch" for _, slug, _, _ in commits]
    begins = series.begins(slugs)
    changed = {commit: changes(scratch, f"{commit}^", commit) for commit, *_ in commits}
    # One that was deleted meanwhile is in the overlay for the last commit that adds it.
    adds = {path: commit for commit in changed for path, (status, *_) in changed[commit].items()
            if status == "A" and path in overlay}
    for number, ((commit, _, subject, body), slug) in enumerate(zip(commits, slugs), 1):
        title = f'{commit[:12]} ("{subject}")'
        if re.match(r"(fixup|squash|amend)! ", subject):
            raise Problem(f"{title} fixes up no commit of the series")
        if re.search(r"(?mi)^Signed-off-by:", body):
            raise Problem(f"{title} carries a Signed-off-by: remove it, "
                          "because the sender of the series adds it")
        new = [path for path in changed[commit] if adds.get(path) == commit]
        edits = [path for path in changed[commit] if path not in new]
        diff = scratch.git("--literal-pathspecs", "diff-tree", "-p", *DIFF,
                           f"{commit}^", commit, "--", *edits) if edits else ""
        name = f"{number:04d}-{slug}"
        if number - 1 in begins:
            names += f"[{begins[number - 1]}]\n"
        names += f"{name}\n" + "".join(f"\t{path}\n" for path in new)
        parts = [f"Subject: [PATCH] {subject}\n\n", f"{tidy(body)}\n".lstrip("\n"),
                 "---\n", f"\n{diff}" if diff else ""]
        files[f"series/{name}"] = (raw("".join(parts)), False)
        for path in new:
            _, mode, blob = overlay[path]
            if path.split("/")[0] not in OVERLAY_DIRS:
                raise Problem(f"{title} adds {path}, which is outside the overlay "
                              f"directories ({', '.join(OVERLAY_DIRS)})")
            if mode not in ("100644", "100755"):
                raise Problem(f"{title} adds {path}, which is not a regular file")
            files[path] = (raw(scratch.git("cat-file", "blob", blob)), mode == "100755")
    files["series/series"] = (raw(names), False)
    return files


def changes(scratch, old, new, *options):
    """What differs between two commits: {path: (status, mode, blob)}."""
    fields = scratch.git("diff-tree", "-r", "-z", "--no-renames", *options, old, new).split("\0")
    return {path: (status, mode, blob) for (_, mode, _, blob, status), path
            in zip((field.split(" ") for field in fields[0:-1:2]), fields[1::2])}


def write(root, files):
    """Write files below `root`, each complete before any takes its place."""
    ready = []
    try:
        for name, (content, executable) in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.new")
            ready.append((part, path))
            part.unlink(missing_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL,
                              0o777 if executable else 0o666), "wb") as out:
                out.write(content)
        for part, path in ready:
            os.replace(part, path)
    finally:
        for part, _ in ready:
            part.unlink(missing_ok=True)


def remove(root, names):
    """Remove files, and the directories that this empties."""
    for name in names:
        path = root / name
        path.unlink(missing_ok=True)
        for parent in path.relative_to(root).parents[:-1]:
            with contextlib.suppress(OSError):
                (root / parent).rmdir()


def same(path, content, executable):
    """Whether a file is there with that content."""
    return (path.is_file() and path.read_bytes() == content
            and bool(path.stat().st_mode & stat.S_IXUSR) == executable)
