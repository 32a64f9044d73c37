# SPDX-License-Identifier: GPL-2.0
"""Git repositories: the kernel's, and throw-away ones in which the series is committed."""

import copy
import functools
import os
import re
import subprocess
import tempfile
from pathlib import Path

from series_lib import common
from series_lib.common import Problem, indent, raw, text

# What makes a diff depend on its content alone.
DIFF = ("--no-renames", "--binary", "--abbrev=12", "--unified=3", "--no-color",
        "--diff-algorithm=myers", "--src-prefix=a/", "--dst-prefix=b/",
        "--no-ext-diff", "--no-textconv")


@functools.cache
def user_env():
    """The user's environment, less what a calling git (a hook, say) has set."""
    env = dict(os.environ, LC_ALL="C")
    done = subprocess.run(["git", "rev-parse", "--local-env-vars"],
                          stdout=subprocess.PIPE, check=True)
    for name in text(done.stdout).split():
        env.pop(name, None)
    return env


class Repo:
    """A git repository, used with the environment `env`."""

    def __init__(self, path, env=None):
        self.path = Path(path).absolute()
        self.env = env or user_env()

    def run(self, *args, stdin="", **env):
        return subprocess.run(["git", *args], cwd=self.path, input=raw(stdin),
                              env={**self.env, **env},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def git(self, *args, **kwargs):
        done = self.run(*args, **kwargs)
        if done.returncode:
            raise Problem(f"git {args[0]} failed in {self.path}:"
                          + indent(text(done.stderr).splitlines()))
        return text(done.stdout)

    def commit(self, rev):
        """The id of a commit, or None."""
        done = self.run("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
        return None if done.returncode else text(done.stdout).strip()

    def git_path(self, name):
        return Path(self.git("rev-parse", "--path-format=absolute",
                             "--git-path", name).rstrip("\n"))

    def contents(self, base, tip):
        """(changes, message) of each commit in base..tip: what a series is, without who
        committed it, and when. The changes name both blobs of each file."""
        log = self.git("log", "--reverse", "--topo-order", "--no-color", "--raw", "--no-abbrev",
                       "--no-renames", "--format=%x00%B%x00", f"{base}..{tip}", GIT_CONFIG_COUNT="1",
                       GIT_CONFIG_KEY_0="core.quotePath", GIT_CONFIG_VALUE_0="true").split("\0")
        return [(sorted(changes.split("\n")), tidy(message))
                for message, changes in zip(log[1::2], log[2::2])]

    def narrowed(self, base, paths):
        """Commit what `base` has of the paths, put that into the index, and return the commit. Git
        writes all of the index for each patch, and that of a kernel is large."""
        self.git("read-tree", "--empty")
        self.git("update-index", "-z", "--index-info", stdin=self.git(
            "--literal-pathspecs", "ls-tree", "-z", base, "--", *paths))
        return self.git("commit-tree", self.git("write-tree").strip(), stdin="-\n").strip()


def kernel(path):
    """The repository that --linux names."""
    if not Path(path).is_dir() or Repo(path).run("rev-parse", "--git-dir").returncode:
        raise Problem(f"{path} is not a git repository")
    return Repo(path)


def tidy(message):
    """A commit message with its white space as git leaves it."""
    lines = "\n".join(line.rstrip() for line in message.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n")


def lend(lender, git_dir):
    """Let the repository at git_dir use the objects of `lender`."""
    add_lines(git_dir / "objects/info/alternates", [str(lender.git_path("objects"))])
    shallow = lender.git_path("shallow")
    if shallow.exists():
        add_lines(git_dir / "shallow", text(shallow.read_bytes()).splitlines())


def add_lines(path, lines):
    """Add those of the lines to a file that it does not have."""
    known = text(path.read_bytes()).splitlines() if path.exists() else []
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw("".join(f"{line}\n" for line in dict.fromkeys(known + lines))))


def identity():
    """The author's name and address: those of --author, or of git's configuration."""
    if common.AUTHOR:
        return common.AUTHOR
    done = Repo(common.ROOT).run("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT")
    match = re.match(r"(.*) <(.*)> ", text(done.stdout))
    return match.groups() if match else ("rustgem", "rustgem@localhost.invalid")


class Scratch(Repo):
    """A throw-away bare repository for the base `rev` of `lender`.

    Its new objects go with it, or with keep=True to the lender.
    """

    def __init__(self, lender, rev, keep=False):
        self.lender, self.rev, self.keep = lender, rev, keep
        self.base = lender.commit(rev)
        if not self.base:
            raise Problem(f"{lender.path} has no commit '{rev}'")

    def __enter__(self):
        self.temp = tempfile.TemporaryDirectory(prefix="rustgem-series-")
        git_dir = Path(self.temp.name) / "git"
        name, email = identity()
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("GIT_") or k == "GIT_EXEC_PATH"}
        env |= {"LC_ALL": "C", "XDG_CONFIG_HOME": self.temp.name,
                "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_ATTR_NOSYSTEM": "1",
                "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email,
                "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email}
        super().__init__(self.temp.name, env)
        self.git("init", "-q", "--bare", "--template=", str(git_dir),
                 "--object-format=" + self.lender.git(
                     "rev-parse", "--show-object-format").strip())
        lend(self.lender, git_dir)
        self.env["GIT_DIR"] = str(git_dir)
        if self.keep:
            self.env["GIT_OBJECT_DIRECTORY"] = str(self.lender.git_path("objects"))
        # The kernel's attributes choose how hunk headers look.
        attributes = self.run("cat-file", "blob", f"{self.base}:.gitattributes")
        (git_dir / "info").mkdir(exist_ok=True)
        (git_dir / "info/attributes").write_bytes(attributes.stdout)
        self.date = int(self.git("log", "-1", "--format=%ct", self.base))
        return self

    def __exit__(self, *_):
        self.temp.cleanup()

    def aside(self):
        """The same repository, whose new objects go with it."""
        other = copy.copy(self)
        other.env = {key: value for key, value in self.env.items() if key != "GIT_OBJECT_DIRECTORY"}
        return other

    def dated(self, seconds):
        """Environment for a commit so many seconds after the base."""
        date = f"@{self.date + seconds} +0000"
        return {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}

    def in_base(self, paths):
        """Those of the paths that the base has."""
        paths = list(paths)
        found = self.git("cat-file", "--batch-check=%(objecttype)",
                         stdin="".join(f"{self.base}:{path}\n" for path in paths))
        return {path for path, line in zip(paths, found.splitlines())
                if not line.endswith(" missing")}

    def version(self, *keys):
        """VERSION.PATCHLEVEL of the base, or more of it."""
        makefile = self.git("cat-file", "blob", f"{self.base}:Makefile")
        numbers = [re.search(rf"(?m)^{key} *= *(\d+)", makefile)
                   for key in ("VERSION", "PATCHLEVEL", *keys)]
        if not all(numbers):
            raise Problem(f"{self.lender.path}: its Makefile gives no kernel version")
        return ".".join(number.group(1) for number in numbers)
