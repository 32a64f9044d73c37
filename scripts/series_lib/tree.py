# SPDX-License-Identifier: GPL-2.0
"""The git tree that `make tree` makes, and its branches for b4."""

import functools
import json
import re

from series_lib import common
from series_lib.commits import build, parts
from series_lib.common import Problem, indent, note, text, uninterrupted
from series_lib.git import DIFF, Repo, Scratch, identity, lend, tidy
from series_lib.order import check


class Tree(Repo):
    """The git tree that `make tree` makes. Two refs record the series as it was when
    tree and project last agreed."""
    BRANCH, BASE = "refs/heads/rustgem", "refs/tags/rustgem-base"
    EXPORTED, EXPORTED_BASE = "refs/rustgem/exported", "refs/rustgem/base"

    def settle(self, base, tip):
        """Record that the project has base..tip."""
        self.git("update-ref", "--stdin", stdin=f"update {self.EXPORTED} {tip}\n"
                 f"update {self.EXPORTED_BASE} {base}\n")

    def config(self, section, name, value=None):
        """A value of git's configuration of the tree, or set it."""
        if value is not None:
            return self.git("config", f"{section}.{name}", value)
        return text(self.run("config", f"{section}.{name}").stdout).rstrip("\n")

    def require_settled(self):
        """Raise a Problem unless this is such a tree, with all work committed."""
        top = self.run("rev-parse", "--show-toplevel")
        if (text(top.stdout).rstrip("\n") != str(self.path.resolve())
                or not self.commit(self.EXPORTED)):
            raise Problem(f"{self.path} exists, but `make tree` did not make it")
        if text(self.run("symbolic-ref", "HEAD").stdout).strip() != self.BRANCH:
            raise Problem(f"{self.path} is not on its branch rustgem: finish the rebase "
                          "there, or git checkout rustgem")
        changes = self.git("status", "--porcelain", "--untracked-files=normal")
        if changes:
            raise Problem(f"{self.path} has changes that are not committed: commit them, "
                          "then `make refresh`" + indent(changes.splitlines()[:10]))

    def exported(self):
        return self.contents(self.EXPORTED_BASE, self.EXPORTED)

    def autosquash(self):
        """Fold fixup!, squash! and amend! commits into those that they name."""
        subjects = self.git("log", "--format=%s", f"{self.BASE}..HEAD")
        if not re.search(r"(?m)^(fixup|squash|amend)! ", subjects):
            return
        before = self.commit("HEAD")
        with uninterrupted():
            done = self.run("-c", "rebase.updateRefs=false", "rebase", "-i",
                            "--autosquash", "--no-rebase-merges", self.BASE,
                            GIT_EDITOR=":", GIT_SEQUENCE_EDITOR=":")
            if done.returncode:
                files = self.git("diff", "--name-only", "--diff-filter=U").splitlines()
                self.run("rebase", "--abort")
                self.git("reset", "-q", "--hard", before)
        if done.returncode:
            where = [f"conflict in {name}" for name in files]
            raise Problem(f"{self.path}: git rebase --autosquash failed; the branch is as "
                          "it was, so run it there by hand"
                          + indent(where or text(done.stderr).splitlines()))
        note(f"series: folded the fixup commits of {self.path}")


def build_in(tree, linux, series, args):
    """Build the series into the tree's objects; return base and tip."""
    base = linux.commit(args.base)
    if not base:
        raise Problem(f"{linux.path} has no commit '{args.base}'")
    with Scratch(tree, base, keep=True) as scratch:
        # Messages are about the kernel that the user named.
        scratch.lender, scratch.rev = linux, args.base
        check(series, scratch, args.any_version)
        return base, build(series, scratch)


def branch_parts(tree, series, args):
    """Make a branch for each part, as b4 prep does: its cover letter, and the commits
    below it, are in git's configuration. Keep what b4 knows of versions that were sent."""
    if not series.parts:
        return
    with Scratch(tree, tree.BASE, keep=True) as scratch:
        signer = None
        if args.signoff:
            if identity()[1].endswith(".invalid"):
                raise Problem("git does not know who signs off: git config user.name and "
                              "user.email")
            signer = "{} <{}>".format(*identity())
        tip = build(series, scratch, signer) if signer or common.AUTHOR else tree.commit("HEAD")
        below = tree.BASE.removeprefix("refs/tags/")
        for part, _, start, end in parts(series, scratch, tip):
            name = f"b4/rustgem-{part.name}"
            config = functools.partial(tree.config, f"branch.{name}")
            if tree.commit(name) not in (None, end, config("rustgem-tip")):
                raise Problem(f"{tree.path}: {name} has other commits than `make tree` made: "
                              "take them to branch rustgem, and then git branch -D it")
            tree.git("update-ref", f"refs/heads/{name}", end)
            config("rustgem-tip", end)
            cover = tidy(series.cover(part, scratch))
            # b4 adds whom it is sent to, and has its way with white space.
            mine = re.sub(r"(?m)^(To|Cc): .*", "", config("description")).split()
            if mine not in ([], cover.split(), config("rustgem-cover").split()):
                raise Problem(f"{tree.path}: the cover letter of {name} was edited: take "
                              f"that to series/cover/{part.name}.txt, and then git config "
                              f"--unset branch.{name}.description there, and b4 prep "
                              "--auto-to-cc again")
            if mine != cover.split():
                config("description", cover)
            config("rustgem-cover", cover)
            config("b4-prep-cover-strategy", "branch-description")
            tracking = json.loads(config("b4-tracking") or "{}")
            ids = scratch.git("patch-id", "--stable", stdin=scratch.git(
                "log", "-p", "--reverse", *DIFF, f"{scratch.base}..{start}"))
            tracking["series"] = {"revision": 1, "prefixes": []} | tracking.get("series", {}) | {
                "change-id": series.letter(part)[2],
                "base-branch": below,
                "prerequisites": [f"base-commit: {scratch.base}"] + [
                    f"patch-id: {line.split()[0]}" for line in ids.splitlines()]}
            config("b4-tracking", json.dumps(tracking))
            below = name


def update_tree(args, linux, series, tree):
    tree.require_settled()
    lend(linux, tree.git_path("objects").parent)
    base, tip = build_in(tree, linux, series, args)
    new, head = tree.contents(base, tip), tree.contents(tree.BASE, "HEAD")
    if head not in (new, tree.exported()):
        raise Problem(f"{tree.path} has commits that the series does not have: "
                      "`make refresh` carries them over")
    with uninterrupted():
        if head != new or tree.commit(tree.BASE) != base:
            tree.git("update-ref", tree.BASE, base)
            tree.git("reset", "-q", "--hard", tip)
        tree.settle(base, "HEAD")
        branch_parts(tree, series, args)
    note(f"series: {tree.path} is up to date")
