"""What formatters and fixers write: the files that are named to them, or some of those in a folder."""

from __future__ import annotations

from lattice.hooks.shell_syntax import plain
from lattice.hooks.shell_walk import active, is_many, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lattice.hooks.shell_walk import Fields, Place, Walk

    Program = Callable[[Walk, str, Fields, Place], Fields | None]

# name -> (subcommands, options that make it write, options that keep it from writing, options with a value, default).
# No option that makes it write: it always does. Default: what it formats when nothing is named.

_ROWS: dict[str, tuple[str, str, str, str, str]] = {
    "black": ("", "", "--check --diff -c --code", "-l --line-length -t --target-version --config --include --exclude -W", ""),
    "isort": ("", "", "-c --check --check-only --diff -d --show-files", "-l --line-length --profile --settings-path --sp -p -s --skip", ""),
    "autopep8": ("", "-i --in-place", "-d --diff", "--max-line-length --select --ignore -j -p", ""),
    "yapf": ("", "-i --in-place", "-d --diff", "--style -e --exclude -l --lines", ""),
    "autoflake": ("", "-i --in-place", "-c --check --check-diff -cd", "--imports --exclude", ""),
    "docformatter": ("", "-i --in-place", "-c --check", "--wrap-summaries --wrap-descriptions", ""),
    "pyupgrade": ("", "", "", "", ""),
    "prettier": ("", "--write -w", "", "--config --ignore-path --parser --plugin --log-level --stdin-filepath", ""),
    "eslint": ("", "--fix", "--fix-dry-run", "-c --config --ext --rule -f --format --max-warnings --ignore-pattern --parser --plugin", "."),
    "stylelint": ("", "--fix", "", "--config -f --formatter", ""),
    "markdownlint": ("", "--fix -f", "", "-c --config -i --ignore", ""),
    "markdownlint-cli2": ("", "--fix", "", "--config", ""),
    "oxlint": ("", "--fix", "", "-c --config", "."),
    "standard": ("", "--fix", "", "", "."),
    "xo": ("", "--fix", "", "", "."),
    "gofmt": ("", "-w", "", "-r", ""),
    "gofumpt": ("", "-w", "", "-lang", ""),
    "goimports": ("", "-w", "", "-local", ""),
    "rustfmt": ("", "", "--check --version", "--edition --config --config-path --emit --color", ""),
    "clang-format": ("", "-i", "-n --dry-run", "--style --assume-filename", ""),
    "shfmt": ("", "-w --write", "", "-i -ln --indent", ""),
    "stylua": ("", "", "-c --check", "--config-path -f", ""),
    "swiftformat": ("", "", "--lint --dryrun", "--config --rules", ""),
    "ktlint": ("", "-F --format", "", "", "."),
    "google-java-format": ("", "-i --replace", "-n --dry-run", "", ""),
    "rubocop": ("", "-a -A -x --autocorrect --auto-correct --autocorrect-all --fix-layout", "", "-c --config --only -f --format", "."),
    "phpcbf": ("", "", "", "", "."),
    "nixfmt": ("", "", "-c --check", "-w", ""),
    "dos2unix": ("", "", "-i --info", "", ""),
    "unix2dos": ("", "", "-i --info", "", ""),
    "php-cs-fixer": ("fix", "", "--dry-run", "--config --rules", "."),
    "taplo": ("fmt format", "", "--check", "-c --config", "."),
    "buf": ("format", "-w --write", "", "", "."),
    "zig": ("fmt", "", "--check", "", ""),
    "dart": ("format", "", "--output=none --set-exit-if-changed", "-l --line-length", ""),
    "deno": ("fmt", "", "--check", "", "."),
    "biome": ("format check lint", "--write --apply --fix --apply-unsafe", "", "--config-path", "."),
    "dprint": ("fmt", "", "", "--config", "."),
    "terraform": ("fmt", "", "-check", "", "."),
    "tofu": ("fmt", "", "-check", "", "."),
    "mix": ("format", "", "--check-formatted --dry-run", "", "."),
    "dotnet": ("format", "", "--verify-no-changes", "--severity -v", "."),
    "cargo": ("fmt", "", "--check", "-p --manifest-path", "."),
    "go": ("fmt", "", "-n", "", "."),
    "sqlfluff": ("fix format", "", "", "--dialect", "."),
}  # fmt: skip
# Subcommands of these that write nothing in the tree.
_HARMLESS = {
    "go": ("vet", "list", "env", "version", "doc"),
    "cargo": ("metadata", "tree", "search"),
    "terraform": ("validate", "show", "output", "version", "plan"),
    "zig": ("version",),
    "deno": ("lint",),
    "sqlfluff": ("lint",),
    "buf": ("lint",),
}


def _formatter(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    verbs = _ROWS[name][0].split()
    if arguments and arguments[0] in ("--version", "--help", "-h", "-V", "version", "help"):
        return None
    if verbs:
        verb = plain(arguments[0]) if arguments else ""
        if verb in verbs:
            return _format(walk, f"{name} {verb}", _ROWS[name], arguments[1:], place)
        if verb not in _HARMLESS.get(name, ()):
            walk.cannot_tell()
        return None
    return _format(walk, name, _ROWS[name], arguments, place)


def _format(walk: Walk, how: str, row: tuple[str, str, str, str, str], arguments: Fields, place: Place) -> Fields | None:
    _, makes, keeps, valued, default = row
    words = [plain(argument) for argument in arguments]
    flags = {word for word in words if word.startswith("-")} | {word.partition("=")[0] for word in words if word.startswith("-")}
    walk.acts()
    if flags & set(keeps.split()) or (makes and not flags & set(makes.split())):
        return None
    if makes:
        how = f"{how} {makes.split()[0]}"
    values = valued.split()
    at, named = 0, False
    while at < len(arguments):
        word, argument = words[at], arguments[at]
        at += 1
        if word in values:
            at += 1
        elif word == "-":
            return None  # standard input to standard output
        elif not word.startswith(("-", "!")):
            named = True
            argument = argument.removesuffix("...") or "."
            walk.write(argument if is_many(argument) else active(argument), how, place, "some")
    if not named and default:
        walk.write(default, how, place, "some")
    return None


def _ruff(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    verb = plain(arguments[0]) if arguments else ""
    row = _RUFF.get(verb)
    if row is not None:
        return _format(walk, f"ruff {verb}", row, arguments[1:], place)
    if verb not in ("rule", "linter", "config", "version", "help", "--version", "--help"):
        walk.cannot_tell()
    return None


_RUFF_VALUES = "--select --ignore --extend-select --config --line-length --target-version --exclude --output-format --fixable --unfixable"
_RUFF = {
    "format": ("", "", "--check --diff", _RUFF_VALUES, "."),
    "check": ("", "--fix --fix-only --add-noqa", "--diff", _RUFF_VALUES, "."),
}


def _python(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if arguments[:1] in (["--version"], ["-V"], ["-VV"], ["--help"], ["-h"]):
        return None
    at = 0
    while at < len(arguments) and arguments[at] in ("-I", "-S", "-E", "-B", "-s", "-u", "-P"):
        at += 1
    if arguments[at : at + 1] == ["-m"] and at + 1 < len(arguments):
        module = plain(arguments[at + 1]).replace("_", "-")
        rest = arguments[at + 2 :]
        if module in FORMATTERS or module in ("mypy", "flake8", "pylint", "pyright"):
            return walk.run([module, *rest], place)
        if module == "json.tool":
            _, operands = options(rest, "", ("--indent",))
            if len(operands) > 1:
                walk.write(operands[1], "python -m json.tool", place)
            return None
    walk.cannot_tell()
    return None


FORMATTERS: dict[str, Program] = {**dict.fromkeys(_ROWS, _formatter), "ruff": _ruff, "python": _python, "python3": _python}
