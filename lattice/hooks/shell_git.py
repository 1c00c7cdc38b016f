"""What a git command would write in the work tree: named files, or any of them.

`git add`, `commit`, `fetch` and the like write only git's own folder; `git diff` writes nothing. An operation that takes
its files from a commit (`reset --hard`, a switch of branches, `rebase`, `stash`) may write any file of the tree: `Walk.write_tree`.
"""

from __future__ import annotations

from lattice.hooks.shell_syntax import ANY, CLASS, ONE, UNREAD, UNREAD_QUOTED, plain
from lattice.hooks.shell_walk import active, base, normal, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lattice.hooks.shell_walk import Fields, Place, Walk

_GLOBAL_VALUES = ("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env", "--super-prefix", "--attr-source")
_READS = frozenset((
    "status", "diff", "log", "show", "blame", "annotate", "rev-parse", "rev-list", "ls-files", "ls-tree", "ls-remote", "cat-file",
    "describe", "shortlog", "grep", "merge-base", "merge-tree", "name-rev", "diff-tree", "diff-index", "diff-files", "for-each-ref",
    "show-ref", "var", "count-objects", "cherry", "range-diff", "whatchanged", "check-ignore", "check-attr", "check-ref-format",
    "verify-commit", "verify-tag",
    "fsck", "version", "help", "show-branch", "get-tar-commit-id", "hash-object", "patch-id", "stripspace", "interpret-trailers",
))  # fmt: skip
# These write git's own folder and no file of the tree.
_PASSES = frozenset((
    "add", "stage", "commit", "push", "fetch", "remote", "tag", "branch", "config", "notes", "gc", "prune", "repack", "pack-refs", "init",
    "reflog", "update-index", "update-ref", "symbolic-ref", "maintenance", "rerere", "replace", "commit-tree", "write-tree", "mktree",
    "credential", "send-email", "request-pull", "worktree", "submodule", "commit-graph", "multi-pack-index", "pack-objects",
    "unpack-objects", "fast-export", "fetch-pack", "send-pack", "daemon", "lfs", "bundle", "archive",
))  # fmt: skip
_TREE = frozenset((
    "rebase", "merge", "pull", "am", "cherry-pick", "revert", "filter-branch", "filter-repo", "sparse-checkout", "checkout-index",
    "subtree",
))  # fmt: skip


def git(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """`git …`: follows -C and --work-tree, then does as the subcommand's row says."""
    tree, at = "", 0
    values = place.settings.get("GIT_WORK_TREE")
    if values:
        tree = values[0]
    while at < len(arguments) and arguments[at].startswith("-"):
        option, has, value = plain(arguments[at]).partition("=")
        if option in ("--version", "--help", "-h", "-v", "--exec-path", "--html-path") and not has:
            return None
        value = arguments[at].partition("=")[2]
        at += 1
        if option in _GLOBAL_VALUES and not has:
            value = arguments[at] if at < len(arguments) else ""
            at += 1
        if option == "-C":
            place = place.fork()
            walk.enter(value, place)
        elif option == "--work-tree":
            tree = value
        elif option == "-c" and value.startswith("alias.") and "=!" in value:
            walk.cannot_tell()
            return None
    if at >= len(arguments):
        return None
    verb = plain(arguments[at])
    rest = arguments[at + 1 :]
    if tree:
        place = place.fork()
        walk.enter(tree, place)
    act = _Act(walk, place, walk.root(place.cwd), f"git {verb}")
    special = _SPECIAL.get(verb)
    if special is not None:
        return special(act, rest)
    if verb in _READS:
        return act.reads(verb, rest)
    if verb in _TREE:
        if not any(word in ("--show-current-patch", "--help", "-h") for word in rest):
            act.tree()
    elif verb in _PASSES:
        walk.acts()
    else:  # an alias, or a program named git-…
        walk.cannot_tell()
    return None


class _Act:
    """One git command: where it runs, and how what it writes is said."""

    def __init__(self, walk: Walk, place: Place, root: str | None, how: str) -> None:
        self.walk, self.place, self.root, self.how = walk, place, root, how

    def tree(self, how: str = "", directory: str | None = None) -> None:
        self.walk.write_tree(directory or self.root, how or self.how)

    def named(self, specs: Sequence[str], how: str = "", sure: bool = True) -> None:
        """Files and directories named by pathspecs. All of the tree, or of the directory: as a whole, that is."""
        how = how or self.how
        for spec in specs:
            if spec.startswith((":!", ":^", ":(exclude)")):
                continue
            place = self.place
            for magic in (":/", ":(top)"):
                if spec.startswith(magic) and self.root is not None:
                    spec = spec[len(magic) :] or "."
                    place = place.fork()
                    place.cwd = self.root
            sign = next((index for index, letter in enumerate(spec) if letter in "*?[" or letter in (ANY, ONE, CLASS)), -1)
            if sign >= 0 and not any(letter in (ANY, ONE, CLASS) for letter in spec):
                # git's own `*` goes through slashes
                folder, _, last = spec[:sign].rpartition("/")
                tail = spec[len(folder) + bool(folder) :]
                last = tail.rpartition("/")[2]
                spec = f"{folder or '.'}/{ANY}{ANY}/{active(last) if '/' not in tail else ANY + ANY}"
                self.walk.write(spec, how, place)
                continue
            if UNREAD in spec or UNREAD_QUOTED in spec:
                self.walk.cannot_tell()
                continue
            found = self.walk.path(spec, place)
            if found and found[0] == "file" and found[1] in (self.root, place.cwd):
                self.tree(f"{how} {plain(spec)}", found[1])
            else:
                self.walk.write(spec, how, place, "dir" if sure else "some")

    def there(self, spec: str) -> bool:
        """Is that a path? git asks the same before it takes a word for a branch."""
        found = self.walk.path(spec, self.place)
        return found is not None and (found[0] == "glob" or self.walk.there(found[1]))

    def reads(self, verb: str, rest: Fields) -> Fields | None:
        """The names that a reading command prints, when they can be told."""
        found, operands = options(rest, "SGnULO", ("--output", "--format", "--diff-filter", "--max-count", "--author", "--since"))
        if "--output" in found:
            self.walk.write(found["--output"] or UNREAD, f"{self.how} --output", self.place)
        if verb == "rev-parse":
            if "--show-toplevel" in found:
                return None if self.root is None else [self.root]
            return [ANY] if "--short" in found or operands == ["HEAD"] else None
        if verb == "ls-files":
            return self._listed(operands)
        if verb in ("diff", "show", "diff-tree", "diff-index", "log") and "--name-only" in found:
            return [f"{ANY}{ANY}"] if self.root is None else [f"{self.root}/{ANY}{ANY}", f"{ANY}{ANY}"]
        if verb == "grep" and ("-l" in found or "--files-with-matches" in found or "--name-only" in found):
            cut = operands.index("--") if "--" in operands else 1
            return self._listed(operands[cut:])
        return None

    def _listed(self, operands: Sequence[str]) -> Fields:
        if not operands:
            return [f"{ANY}{ANY}"]
        found = []
        for spec in operands:
            if any(letter in spec for letter in "*?["):
                folder, _, last = spec.rpartition("/")
                found.append(f"{folder or '.'}/{ANY}{ANY}/{active(last)}")
            else:
                found += [spec, f"{spec.rstrip('/')}/{ANY}{ANY}"]
        return found


def _looks_like_a_file(spec: str) -> bool:
    """Not there, but with an ending: may be one that was removed and is wanted back. `v1.2` is no ending."""
    last = base(spec)
    return "." in last[1:-1] and normal(spec) == spec and not last.replace(".", "").lstrip("v").isdigit()


def _checkout(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    found, operands = options(rest, "bB", ("--orphan", "--conflict", "--pathspec-from-file"))
    if "--pathspec-from-file" in found:
        act.tree()
    elif "--" in rest:
        paths = rest[rest.index("--") + 1 :]
        if paths:
            act.named(paths)
        else:
            act.tree()
    elif "-p" in found or "--patch" in found:
        act.tree("git checkout -p")
    elif "-b" in found or "-B" in found or "--orphan" in found:
        if operands or "-f" in found or "--force" in found:  # from another commit
            act.tree("git checkout -b")
    elif not operands:
        if "-f" in found or "--force" in found:
            act.tree("git checkout -f")
    elif len(operands) > 1:  # commit and paths, or paths
        if act.there(operands[0]):
            act.named(operands[:1])
        act.named(operands[1:])
    elif "-f" not in found and "--force" not in found and act.there(operands[0]):
        act.named(operands)
    elif "-t" in found or "--track" in found or not _looks_like_a_file(operands[0]):
        act.tree()
    else:
        act.named(operands)
        act.tree()


def _restore(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    found, operands = options(rest, "s", ("--source", "--conflict", "--pathspec-from-file"))
    staged = "--staged" in found or "-S" in found
    if staged and "--worktree" not in found and "-W" not in found:
        return
    if "--pathspec-from-file" in found or "-p" in found or "--patch" in found:
        act.tree()
    act.named(operands)


def _switch(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    found, operands = options(rest, "cC", ("--create", "--force-create", "--orphan", "--conflict"))
    makes = any(option in found for option in ("-c", "-C", "--create", "--force-create"))
    if not makes or operands or "-f" in found or "--discard-changes" in found or "--force" in found:
        act.tree()


def _reset(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    for option in ("--hard", "--merge", "--keep"):
        if option in rest:
            act.tree(f"git reset {option}")
            return
    if any(argument[:1] in (UNREAD, UNREAD_QUOTED) for argument in rest[:1]):
        act.walk.cannot_tell()


def _stash(act: _Act, rest: Fields) -> None:
    verb = rest[0] if rest else "push"
    if verb in ("list", "show"):
        return
    act.walk.acts()
    if verb in ("drop", "clear", "create", "store"):
        return
    if verb in ("push", "save") or verb.startswith("-"):
        found, operands = options(rest[1:] if verb in ("push", "save") else rest, "m", ("--message", "--pathspec-from-file"))
        if operands and verb != "save" and "--pathspec-from-file" not in found:
            act.named(operands, "git stash push")
            return
    act.tree(f"git stash {verb}" if rest and not verb.startswith("-") else "git stash")


def _clean(act: _Act, rest: Fields) -> None:
    found, operands = options(rest, "e", ("--exclude",))
    if "-n" in found or "--dry-run" in found:
        return
    act.walk.acts()
    if operands:
        for operand in operands:  # only what git does not know is removed
            path = act.walk.path(operand, act.place)
            if path is None or path[0] != "file":
                act.tree("git clean", act.place.cwd)
            else:
                act.tree("git clean", path[1])
    else:
        act.tree("git clean", act.place.cwd)


def _rm(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    found, operands = options(rest, "", ("--pathspec-from-file",))
    if "--cached" in found or "-n" in found or "--dry-run" in found:
        return
    if "--pathspec-from-file" in found:
        act.tree()
    act.named(operands)


def _mv(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    found, operands = options(rest)
    if "-n" in found or "--dry-run" in found or len(operands) < 2:
        return
    target = operands[-1]
    for source in operands[:-1]:
        act.walk.write(source, act.how, act.place, "dir")
        if base(source):
            act.walk.write(f"{target.rstrip('/')}/{base(source)}", act.how, act.place)
    act.walk.write(target, act.how, act.place)


def _apply(act: _Act, rest: Fields) -> None:
    found, operands = options(rest, "pCK", ("--exclude", "--include", "--directory", "--whitespace"))
    if any(option in found for option in ("--check", "--stat", "--numstat", "--summary")) and "--apply" not in found:
        return
    act.walk.acts()
    if "--cached" in found:
        return
    if not operands or operands == ["-"]:
        strips = found.get("-p", "1")
        named = patched(act.place.text or "", int(strips) if strips.isdigit() and len(strips) < 3 else 1)
        directory = found.get("--directory", "")
        for path in named:
            act.walk.write(f"{directory}/{path}" if directory else path, act.how, act.place)
        if named:
            return
    act.walk.cannot_tell()  # which files is said in the patch


def _clone(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    _, operands = options(rest, "bocuj", ("--branch", "--depth", "--origin", "--config", "--reference", "--filter", "--jobs"))
    if len(operands) > 1:
        act.walk.write(operands[1], act.how, act.place, "some")
    elif operands and base(operands[0]).removesuffix(".git"):
        act.walk.write(base(operands[0]).rpartition(":")[2].removesuffix(".git"), act.how, act.place, "some")


def _worktree(act: _Act, rest: Fields) -> None:
    if rest[:1] == ["list"]:
        return
    act.walk.acts()
    if rest[:1] in (["remove"], ["move"]):
        _, operands = options(rest[1:])
        for operand in operands[:1]:
            act.walk.write(operand, f"{act.how} {rest[0]}", act.place, "dir")


def _submodule(act: _Act, rest: Fields) -> None:
    if rest[:1] in ([], ["status"], ["summary"]):
        return
    act.walk.acts()
    if rest[0] in ("foreach",):
        act.walk.cannot_tell()
    elif rest[0] in ("update", "deinit", "add"):
        _, operands = options(rest[1:], "b", ("--depth", "--reference", "--branch"))
        if operands:
            act.named(operands[-1:], f"git submodule {rest[0]}", sure=False)
        else:
            act.tree(f"git submodule {rest[0]}")


def _bisect(act: _Act, rest: Fields) -> None:
    if rest[:1] in (["log"], ["view"], ["visualize"], ["terms"]):
        return
    act.tree()
    if rest[:1] == ["run"]:
        act.walk.cannot_tell()


def _lfs(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    if rest[:1] in (["pull"], ["checkout"], ["migrate"]):
        act.tree(f"git lfs {rest[0]}")


def _merge(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    if "--quit" not in rest:
        act.tree()


def _merge_file(act: _Act, rest: Fields) -> None:
    found, operands = options(rest, "L")
    if "-p" not in found and "--stdout" not in found and operands:
        act.walk.write(operands[0], act.how, act.place)


def _out(act: _Act, rest: Fields) -> None:
    """`archive` and `bundle create`: one named file."""
    found, operands = options(rest, "o", ("--output", "--format", "--prefix", "--remote"))
    act.walk.acts()
    target = found.get("-o") or found.get("--output") or (operands[1] if operands[:1] == ["create"] and len(operands) > 1 else "")
    if target:
        act.walk.write(target, act.how, act.place)


def _format_patch(act: _Act, rest: Fields) -> None:
    found, _ = options(rest, "o", ("--output-directory", "--output"))
    if "--stdout" in found:
        return
    folder = found.get("-o") or found.get("--output-directory") or "."
    act.walk.write(f"{folder}/{ANY}.patch", act.how, act.place)


def _read_tree(act: _Act, rest: Fields) -> None:
    act.walk.acts()
    if "-u" in rest:
        act.tree("git read-tree -u")


_SPECIAL = {
    "checkout": _checkout, "restore": _restore, "switch": _switch, "reset": _reset, "stash": _stash, "clean": _clean, "rm": _rm, "mv": _mv,
    "apply": _apply, "clone": _clone, "worktree": _worktree, "submodule": _submodule, "bisect": _bisect, "lfs": _lfs,
    "merge": _merge, "merge-file": _merge_file, "archive": _out, "bundle": _out, "format-patch": _format_patch, "read-tree": _read_tree,
}  # fmt: skip


def patched(text: str, strips: int) -> list[str]:
    """The paths that a unified diff names, with so many leading segments off."""
    found: dict[str, None] = {}
    for line in text.split("\n"):
        for sign in ("--- ", "+++ ", "rename from ", "rename to ", "copy to "):
            if line.startswith(sign):
                path = line[len(sign) :].split("\t")[0].strip()
                if path and path != "/dev/null":
                    found["/".join(path.split("/")[strips:]) if sign[0] in "-+" and path.count("/") >= strips else path] = None
    return list(found)
