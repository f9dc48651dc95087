#!/usr/bin/env python3
"""The clone in which the points run: git, DVC, and what a kill leaves."""
import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys

from stages.lib.common import environment, errors
from study import command

JOURNAL = "logs/study.jsonl"
TIMINGS = "logs/timings.jsonl"
OBJECTS = ".dvc/cache/files/md5"
LARGE = 300e6    # bytes of an array that only DVC's cache still holds
PIPELINE = ("stages", "dvc.yaml", "params.yaml")


class Clone:
    """A clone of this repository at `path`."""

    def __init__(self, path):
        """Clone this repository unless it was cloned before.

        Raises:
            StorageError: this is not a git repository with a commit.
        """
        self.path = path
        if not os.path.isdir(f"{path}/.git"):
            self.git("clone", "--quiet", ".", path, folder=".")
            self.git("config", "user.name", "study")
            self.git("config", "user.email", "study@localhost")

    def update(self):
        """Lock the clone, take over HEAD, clean up after a kill.

        Waits until no experiment of an earlier run is running there.
        """
        self.lock = open(f"{self.path}/.git/study.lock", "a",
                         encoding="utf-8")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("study: waiting for an experiment that is still running",
                  flush=True)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.clean()
        if self.git("status", "--porcelain", "--", *PIPELINE, folder="."):
            print("study: runs the last commit, without your changes since",
                  flush=True)
        self.git("fetch", "--quiet", os.getcwd(), "HEAD")
        self.git("reset", "--quiet", "--hard", "FETCH_HEAD")

    def git(self, *words, folder=None):
        """Run git in the clone or in `folder`; return what it prints."""
        done = subprocess.run(["git", *words], cwd=folder or self.path,
                              check=False, text=True, capture_output=True)
        if done.returncode:
            raise errors.StorageError(
                f"git {words[0]}: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout

    def clean(self):
        """Remove what git and DVC leave incomplete if they are killed."""
        for name in (".git/index.lock", ".git/HEAD.lock", ".dvc/tmp/rwlock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}/{name}")
        with contextlib.suppress(FileNotFoundError):
            with open(f"{self.path}/dvc.lock", encoding="utf-8") as file:
                whole = "schema:" in file.read()
            if not whole:
                os.unlink(f"{self.path}/dvc.lock")
        for line in self.git("for-each-ref", "--format=%(refname)",
                             "refs/exps/exec").split():
            self.git("update-ref", "-d", line)

    def experiments(self):
        """Return digest of the settings -> (name, commit of the baseline)."""
        found = {}
        for name in self.git("for-each-ref", "--format=%(refname)",
                             "refs/exps").split():
            match = re.fullmatch(
                r"refs/exps/(\w\w)/(\w{38})/(\w+-\w+-\d+-(\w+))", name)
            if match:
                found[match[4]] = match[3], match[1] + match[2]
        return found

    def show(self):
        """Return name -> data of all experiments, by `dvc exp show`."""
        baselines = sorted({one[1] for one in self.experiments().values()})
        if not baselines:
            return {}
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "exp", "show", "--json",
             *(word for one in baselines for word in ("--rev", one))],
            cwd=self.path, check=False, text=True, capture_output=True,
            env=environment.variables())
        if done.returncode:
            raise errors.StorageError(
                f"dvc exp show: {done.stderr.strip().splitlines()[-1]}")
        found = {}
        for baseline in json.loads(done.stdout):
            for experiment in baseline.get("experiments") or ():
                for one in experiment["revs"]:
                    if one.get("data"):
                        found[one["name"]] = one["data"]
        return found

    def revision_of(self, baseline):
        """Return the last commit that changed the pipeline, 8 digits."""
        return self.git("log", "-1", "--format=%H", baseline, "--",
                        *PIPELINE)[:8]

    def run(self, name, settings):
        """Run an experiment; note its begin, memory and end in the journal.

        Args:
            name: of the experiment.
            settings: key of params.yaml -> value; `~key` removes it.

        Returns:
            None, or why it failed, a line.
        """
        self.git("checkout", "--quiet", "--", ".")    # params.yaml above all
        self.forget()
        self.note(point=name, event="begin", timings=len(self.timings()))
        log = f"{self.path}/logs/{name}.log"
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command.words(name, settings), cwd=self.path, stdout=file,
                stderr=subprocess.STDOUT, env=environment.variables(),
                pass_fds=[self.lock.fileno()])
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status    # it was waited for
        if status:
            with open(log, encoding="utf-8") as file:
                why = command.reason(file.read())
            self.note(point=name, event="failed", reason=why)
            return why
        self.note(point=name, event="end", peak=usage.ru_maxrss * 1024,
                  timings=len(self.timings()))
        return None

    def forget(self):
        """Delete large arrays of which only DVC's cache has a copy.

        Maps at a cut would fill the disk.  Nothing else needs them.
        """
        for folder, _, names in os.walk(f"{self.path}/{OBJECTS}"):
            for name in names:
                found = os.stat(os.path.join(folder, name))
                if found.st_size > LARGE and found.st_nlink == 1:
                    os.unlink(os.path.join(folder, name))

    def note(self, **entry):
        """Append a line to the journal."""
        os.makedirs(f"{self.path}/logs", exist_ok=True)
        with open(f"{self.path}/{JOURNAL}", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def journal(self):
        """Return the entries of the journal, oldest first."""
        return self._lines(JOURNAL)

    def timings(self):
        """Return what the stages recorded of their work, oldest first."""
        return self._lines(TIMINGS)

    def _lines(self, name):
        """Return the values in a file of JSON lines; skips incomplete ones.
        """
        found = []
        with contextlib.suppress(FileNotFoundError), open(
                f"{self.path}/{name}", encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return found
