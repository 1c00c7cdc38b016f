"""What each program that a shell line may start would write: one table, name -> function (walk, name, arguments, place).

A program that is in none of the lists may write anything: the walk says that it cannot tell. One that is known to read says
nothing. The functions give back what the program prints, as far as that is names of files: `find` feeds `xargs` so.
"""

from __future__ import annotations

import posixpath

from lattice.hooks.shell_files import FILES
from lattice.hooks.shell_formatters import FORMATTERS
from lattice.hooks.shell_git import git
from lattice.hooks.shell_syntax import ANY, TILDE, UNREAD, UNREAD_QUOTED, plain
from lattice.hooks.shell_walk import active, base, is_many, options, words_fed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lattice.hooks.shell_walk import Fields, Place, Walk

    Program = Callable[[Walk, str, Fields, Place], Fields | None]

_READERS = """
    ls cat head tail wc less more file stat du df type echo printf pwd whoami id uname diff cmp comm cut tr tree jq hexdump od strings
    md5sum md5 sha1sum sha224sum sha256sum sha384sum sha512sum shasum b2sum cksum sum base64 base32 basename dirname realpath readlink
    printenv seq test [ true false : sleep wait ps top htop free uptime tput column nl tac rev fold fmt paste join expand unexpand tsort bc
    cal arch nproc lscpu lsblk groups tty which whereis man info help apropos history jobs egrep fgrep zgrep zcat bzcat xzcat zless
    sdiff diff3 colordiff delta bat batcat eza exa ack ag pgrep pidof lsof netstat ss ping dig host nslookup getent locale
    date hostname getconf ulimit umask times hash compgen complete bind let getopts return exit break continue logout clear reset
    cloc tokei scc ncdu view zipinfo nm objdump readelf ldd size otool xmlwf getopt numfmt factor pr look dircolors tzselect hd
    get-content select-string get-childitem get-location test-path measure-object where-object select-object write-output write-host
""".split()
# These act, but on no file's content that anybody locks: metadata, processes, empty directories, or other machines.
_PASSES = """
    mkdir chmod chown chgrp chattr setfacl xattr kill pkill killall renice export local declare typeset readonly unset shopt
    alias unalias disown bg fg logger say notify-send sync mkfifo ssh ssh-add glab c2-lattice c2 mypy pyright flake8 pylint
    shellcheck hadolint yamllint actionlint bandit pydocstyle pycodestyle vulture stty enable
""".split()


def _reads(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    return None


def _passes(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    walk.acts()
    return []


# printing and filtering: what they print feeds xargs, loops and $(…)


def _echo(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    while arguments and arguments[0] in ("-n", "-e", "-E", "-ne", "-en"):
        arguments = arguments[1:]
    return _split(arguments)


def _printf(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if arguments[:1] == ["-v"]:
        if len(arguments) > 1:
            place.variables.pop(plain(arguments[1]), None)
        return []
    if not arguments:
        return []
    form = arguments[0].replace("\\n", "\n").replace("\\0", "\n")
    if form.strip() in ("%s", "%q", "%b"):
        return _split(arguments[1:])
    return _split([form]) if "%" not in form else None


def _split(fields: Fields) -> Fields | None:
    if any(UNREAD in field or UNREAD_QUOTED in field for field in fields):
        return None
    return [word for field in fields for word in field.replace("\\n", "\n").split()]


def _cat(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    return words_fed(place) if all(argument.startswith("-") for argument in arguments) else None


def _filters(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """Prints some of its lines as they are."""
    return words_fed(place)


def _sort(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "okStT", ("--output", "--key", "--field-separator", "--buffer-size", "--parallel"))
    target = found.get("-o") or found.get("--output")
    if target:
        walk.write(target, "sort -o", place)
    walk.beware(arguments)
    return None if operands else words_fed(place)


def _uniq(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """`uniq in out`, `xxd in out`."""
    _, operands = options(arguments, "fsw" if name == "uniq" else "lcgso")
    if len(operands) > 1:
        walk.write(operands[1], name, place)
    return None if operands else words_fed(place)


def _ls(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "IwT", ("--ignore", "--hide", "--width", "--sort", "--time-style", "--color"))
    for operand in operands:  # what is in a directory is printed without its path
        if not is_many(operand) or ("-d" not in found and "." not in base(operand)[1:]):
            return None
    if "-l" in found:
        return None
    return operands or [ANY]


def _grep(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(
        arguments, "efmABCdDgtTjMrE" if name == "rg" else "efmABCdD",
        ("--regexp", "--file", "--max-count", "--after-context", "--before-context", "--context", "--glob", "--type", "--include",
         "--exclude"),
    )  # fmt: skip
    if "-e" not in found and "-f" not in found and "--regexp" not in found and "--file" not in found and "--files" not in found:
        operands = operands[1:]
    lists = any(option in found for option in ("-l", "-L", "--files-with-matches", "--files-without-match", "--files"))
    if lists:
        deep = name != "grep" or any(option in found for option in ("-r", "-R", "--recursive", "--dereference-recursive"))
        only = found.get("--include", "") or found.get("--glob", "") or (found.get("-g", "") if name == "rg" else "")
        if not deep:
            return operands
        last = active(plain(only)) if only and not only.startswith("!") and "/" not in only else ""
        return [part for operand in operands or ["."] for part in (operand, _deep(operand, last))]
    return None if operands else words_fed(place)


def _deep(folder: str, last: str = "") -> str:
    return f"{folder.rstrip('/') or '/'}/{ANY}{ANY}" + (f"/{last}" if last else "")


def _pwd(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    return None if place.cwd is None else [place.cwd]


def _number(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """Prints one word without a slash."""
    return [ANY] if not any("/" in argument for argument in arguments) else None


def _base_name(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments, "s")
    if not operands or _split(operands[:1]) is None:
        return None
    last = operands[0].rstrip("/").rpartition("/")[2]
    return [last.removesuffix(operands[1]) if len(operands) > 1 else last]


def _dir_name(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if len(arguments) != 1 or _split(arguments) is None:
        return None
    return [posixpath.dirname(arguments[0]) or "."]


def _real_path(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments)
    found = walk.path(operands[0], place) if len(operands) == 1 else None
    return [found[1]] if found and found[0] == "file" else None


def _make_temp(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """A name that nobody else has."""
    walk.acts()
    found, operands = options(arguments, "pt", ("--suffix",))
    if "-p" in found or any(operand.startswith(".") or "/" in operand for operand in operands):
        return None
    return ["/tmp/tmp.mktemp"]


# words of the shell itself


def _cd(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments)
    before = place.cwd
    if name == "popd":
        place.cwd = place.stack.pop() if place.stack else None
        return []
    if name == "pushd":
        place.stack.append(before)
    if not operands:
        place.cwd = place.home or None
    elif operands[0] == "-":
        place.cwd = place.before
    else:
        walk.enter(operands[0], place)
    place.before = before
    return []


def _read(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """`read a b`, `mapfile -t a`."""
    _, operands = options(arguments, "dinNptu")
    fed = words_fed(place) if name != "read" else None
    for operand in operands:
        if operand in place.variables or len(place.variables) < 60:
            place.variables[plain(operand)] = fed
    return []


def _set(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if "--" in arguments:
        place.parameters = arguments[arguments.index("--") + 1 :]
    elif any(not argument.startswith(("-", "+")) for argument in arguments[:1]):
        place.parameters = arguments
    return []


def _shift(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if place.parameters is not None and not arguments:
        if not (place.parameters and is_many(place.parameters[0])):  # else more of it may be left
            place.parameters = place.parameters[1:]
    else:
        place.parameters = None
    return []


def _unset(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    for argument in arguments:
        place.variables.pop(plain(argument), None)
    return []


def _eval(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    return _script(walk, " ".join(arguments), place)


def _script(walk: Walk, text: str, place: Place) -> Fields | None:
    if UNREAD in text or UNREAD_QUOTED in text:
        walk.cannot_tell()
    return walk.script(text, place)


def _trap(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments)
    if len(operands) > 1 and operands[0] not in ("", "-"):
        if UNREAD in operands[0] or UNREAD_QUOTED in operands[0]:
            walk.cannot_tell()
        place.leaving = operands[0]
    return []


def _shell(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """`sh -c '…' name arguments`, or a script on standard input."""
    at, command = 0, False
    while at < len(arguments) and len(arguments[at]) > 1 and arguments[at][0] in "-+":
        option = arguments[at]
        at += 1
        if option == "--":
            break
        if option in ("--version", "--help"):
            return None
        if not option.startswith("--"):
            command = command or "c" in option
            if option[-1] in "oO":
                at += 1
    inner = place.fork()
    if command:
        if at >= len(arguments):
            return None
        inner.parameters = arguments[at + 2 :]
        return _script(walk, arguments[at], inner)
    if at < len(arguments) and "-s" not in arguments[:at]:
        if "-n" not in arguments[:at]:
            walk.cannot_tell()  # a script that is a file
        return None
    if place.text is None:
        walk.cannot_tell()
        return None
    inner.parameters, inner.text = arguments[at:], None
    return _script(walk, place.text, inner)


# programs that start another program


def _prefix(letters: str, words: tuple[str, ...] = (), skip: int = 0, sets: bool = False) -> Program:
    """`nice -n 5 command …`: options (with a value: letters, words), so many operands, then a command."""

    def run(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
        at, end = 0, len(arguments)
        while at < end:
            argument = plain(arguments[at])
            if argument == "--":
                at += 1
                break
            if argument.startswith("-") and len(argument) > 1:
                at += 1
                if (argument in words) or (len(argument) == 2 and argument[1] in letters):
                    at += 1
            elif sets and "=" in argument.split("/")[0]:
                setting, _, value = arguments[at].partition("=")
                place.settings[plain(setting)] = [value]
                at += 1
            else:
                break
        at += skip
        if at < end:
            return walk.run(arguments[at:], place)
        return None

    return run


def _env(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    for at, argument in enumerate(arguments[:4]):
        if argument in ("-S", "--split-string") and at + 1 < len(arguments):
            return _script(walk, " ".join(arguments[at + 1 :]), place.fork())
        if argument in ("-C", "--chdir") and at + 1 < len(arguments):
            inner = place.fork()
            walk.enter(arguments[at + 1], inner)
            return _ENV(walk, name, arguments[:at] + arguments[at + 2 :], inner)
    return _ENV(walk, name, arguments, place)


_ENV = _prefix("uCS", ("--unset", "--chdir", "--block-signal"), sets=True)
_SUDO = _prefix("ugpCThUDR", ("--user", "--group", "--prompt", "--host", "--chdir"), sets=True)


def _command(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if arguments[:1] in (["-v"], ["-V"]):
        return None
    return _prefix("a")(walk, name, arguments, place)


def _runner(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """`npx prettier …`, `uv run black …`: a formatter that we know; anything else may write anything."""
    at = 0
    rest = [plain(argument) for argument in arguments[:12]]
    while at < len(rest):
        word = rest[at]
        if word in _RUNNER_VALUES:
            at += 2
        elif word.startswith("-") or (at < 3 and word in _RUNNER_VERBS):
            at += 1
        else:
            break
    if at < len(arguments):
        called = plain(arguments[at]).partition("@")[0].rpartition("/")[2]
        if called in FORMATTERS:
            return walk.run([called, *arguments[at + 1 :]], place)
    walk.cannot_tell()
    return None


_RUNNER_VERBS = frozenset(("run", "exec", "dlx", "x", "tool"))
_RUNNER_VALUES = frozenset(
    ("-p", "--package", "--with", "--python", "--group", "--extra", "--from", "-C", "--dir", "--prefix", "--filter", "-F")
)


def _xargs(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    at, token = 0, ""
    fed = words_fed(place)
    while at < len(arguments) and arguments[at].startswith("-"):
        option = plain(arguments[at])
        at += 1
        if option in ("-a", "--arg-file") or option.startswith("--arg-file="):
            fed = None
        if option == "-I" or option == "--replace":
            token = plain(arguments[at]) if option == "-I" and at < len(arguments) else "{}"
        elif option.startswith("-I") or option.startswith("--replace="):
            token = option[2:] if option[1] == "I" else option[10:]
        elif option == "-i":
            token = "{}"
        if option in _XARGS_VALUES:
            at += 1
    command = arguments[at:] or ["echo"]
    values = [UNREAD_QUOTED] if fed is None else fed
    if not values:
        return []
    return walk.run(_put(command, token, values) if token else command + values, place.fork())


_XARGS_VALUES = frozenset("-I -n -P -L -d -a -s -E -J -R -S --arg-file --max-args --max-procs --delimiter".split())


def _put(command: Fields, token: str, values: Fields) -> Fields:
    """The command with the token replaced by each of the values."""
    found: Fields = []
    for word in command:
        if token in word:
            found += [word.replace(token, value) for value in values[:64]] + ([UNREAD_QUOTED] if len(values) > 64 else [])
        else:
            found.append(word)
    return found


def _find(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    at = 0
    while at < len(arguments) and (arguments[at] in ("-L", "-P", "-H", "-E", "-X", "-x", "-s") or arguments[at].startswith(("-O", "-D"))):
        at += 1
    roots = []
    while at < len(arguments) and not arguments[at].startswith(("-", "(", "!")):
        roots.append(arguments[at])
        at += 1
    tests = arguments[at:]
    only = [plain(tests[index + 1]) for index, test in enumerate(tests[:-1]) if test == "-name"]
    plainly = len(only) == 1 and not any(test in ("-o", "-or", "!", "-not", ",") for test in tests) and "/" not in only[0]
    region: Fields = []
    for root in roots or ["."]:
        root = root if root.startswith(("/", TILDE)) or place.cwd is None else f"{place.cwd}/{root}"
        region.append(_deep(root, active(only[0]) if plainly else ""))
    at, prints = 0, True
    while at < len(tests):
        test = tests[at]
        at += 1
        if test in ("-exec", "-execdir", "-ok", "-okdir"):
            end = at
            while end < len(tests) and tests[end] not in (";", "+"):
                end += 1
            if end > at:
                inner = place.fork()
                inner.fed = inner.text = None
                if test.endswith("dir"):
                    inner.cwd = None
                walk.run(_put(tests[at:end], "{}", region), inner)
            at, prints = end + 1, False
        elif test == "-delete":
            for each in region:
                walk.write(each, "find -delete", place)
            prints = False
        elif test in ("-fprint", "-fprint0", "-fls", "-fprintf"):
            if at < len(tests):
                walk.write(tests[at], f"find {test}", place)
            at += 1
        elif test in ("-name", "-path", "-regex", "-newer"):
            at += 1
    return region if prints else None


def _fd(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if any(argument in ("-x", "-X", "--exec", "--exec-batch") for argument in arguments):
        walk.cannot_tell()
        return None
    _, operands = options(arguments, "etEdj", ("--extension", "--type", "--exclude", "--max-depth"))
    return [_deep(root) for root in operands[1:] or ["."]]


def _gh(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    walk.acts()
    verbs = [plain(argument) for argument in arguments[:2]]
    if verbs == ["pr", "checkout"] or verbs == ["repo", "sync"]:
        walk.write_tree(walk.root(place.cwd), "gh " + " ".join(verbs))
    elif verbs[1:] == ["download"] or verbs[:1] in (["extension"], ["alias"]):
        walk.cannot_tell()
    return None


def _make(names: dict[str, Program]) -> dict[str, Program]:
    table: dict[str, Program] = dict.fromkeys(_READERS, _reads)
    table.update(dict.fromkeys(_PASSES, _passes))
    table.update(FILES)
    table.update(FORMATTERS)
    table.update(names)
    return table


PROGRAMS: dict[str, Program] = _make({
    "echo": _echo, "printf": _printf, "cat": _cat, "ls": _ls, "grep": _grep, "egrep": _grep, "fgrep": _grep, "rg": _grep,
    "head": _filters, "tail": _filters, "tac": _filters, "shuf": _filters, "tr": _filters, "sort": _sort, "uniq": _uniq, "pwd": _pwd,
    "date": _number, "wc": _number, "nproc": _number, "whoami": _number, "uname": _number, "seq": _number, "basename": _base_name,
    "dirname": _dir_name, "realpath": _real_path, "readlink": _real_path, "mktemp": _make_temp,
    "cd": _cd, "pushd": _cd, "popd": _cd, "chdir": _cd, "read": _read, "mapfile": _read, "readarray": _read, "set": _set, "shift": _shift,
    "unset": _unset, "eval": _eval, "trap": _trap,
    "bash": _shell, "sh": _shell, "zsh": _shell, "dash": _shell, "ksh": _shell, "ash": _shell,
    "env": _env, "sudo": _SUDO, "doas": _SUDO, "nohup": _prefix(""), "time": _prefix("of", ("--output", "--format")), "setsid": _prefix(""),
    "timeout": _prefix("ks", ("--kill-after", "--signal"), 1), "gtimeout": _prefix("ks", ("--kill-after", "--signal"), 1),
    "nice": _prefix("n", ("--adjustment",)), "ionice": _prefix("cnp"), "stdbuf": _prefix("ioe"), "chronic": _prefix(""),
    "unbuffer": _prefix(""), "caffeinate": _prefix("tw"), "command": _command, "builtin": _prefix(""), "exec": _prefix("a"),
    "busybox": _prefix(""), "noglob": _prefix(""), "nocorrect": _prefix(""), "coproc": _prefix(""),
    "npx": _runner, "bunx": _runner, "pnpm": _runner, "yarn": _runner, "npm": _runner, "bun": _runner, "uv": _runner, "uvx": _runner,
    "poetry": _runner, "pipenv": _runner, "pdm": _runner, "hatch": _runner, "rye": _runner, "pipx": _runner, "bundle": _runner,
    "xargs": _xargs, "gxargs": _xargs, "find": _find, "gfind": _find, "fd": _fd, "fdfind": _fd,
    "git": git, "gh": _gh, "xxd": _uniq,
})  # fmt: skip
