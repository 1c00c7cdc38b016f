"""What each program that a shell line may start would write: one table, name -> function (walk, name, arguments, place).

A program that is in none of the lists may write anything: the walk says that it cannot tell. One that is known to read says
nothing. The functions give back what the program prints, as far as that is names of files: `find` feeds `xargs` so.
"""

from __future__ import annotations

import posixpath

from lattice.hooks.shell_git import git, patched
from lattice.hooks.shell_syntax import ANY, CLASS, ONE, UNREAD, UNREAD_QUOTED, plain
from lattice.hooks.shell_walk import active, base, options, words_fed

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


def _unknown(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    if len(arguments) == 1 and arguments[0] in ("--version", "-V", "--help", "-h", "-version", "version"):
        return None
    walk.cannot_tell()
    return None


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
    _beware(walk, arguments)
    return None if operands else words_fed(place)


def _uniq(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """`uniq in out`, `xxd in out`."""
    _, operands = options(arguments, "fsw" if name == "uniq" else "lcgso")
    if len(operands) > 1:
        walk.write(operands[1], name, place)
    return None if operands else words_fed(place)


def _ls(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "IwT", ("--ignore", "--hide", "--width", "--sort", "--time-style", "--color"))
    if "-l" in found:
        return None
    return [*operands, ANY]


def _grep(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(
        arguments, "efmABCdDgtTjMrE" if name == "rg" else "efmABCdD",
        ("--regexp", "--file", "--max-count", "--after-context", "--before-context", "--context", "--glob", "--type", "--include", "--exclude"),
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
        found = walk.path(operands[0], place)
        place.cwd = found[1] if found and found[0] == "file" else None
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
        _script(walk, operands[0], place.fork())
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
            _cd(walk, "cd", [arguments[at + 1]], inner)
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
        if called in _FORMATTERS or called in ("python", "python3"):
            return walk.run([called, *arguments[at + 1 :]], place)
    return _unknown(walk, name, arguments, place)


_RUNNER_VERBS = frozenset(("run", "exec", "dlx", "x", "tool"))
_RUNNER_VALUES = frozenset(("-p", "--package", "--with", "--python", "--group", "--extra", "--from", "-C", "--dir", "--prefix", "--filter", "-F"))


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
        if option in ("-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E", "-J", "-R", "-S", "--arg-file", "--max-args", "--max-procs", "--delimiter"):
            at += 1
    command = arguments[at:] or ["echo"]
    values = [UNREAD_QUOTED] if fed is None else fed
    if not values:
        return []
    return walk.run(_put(command, token, values) if token else command + values, place.fork())


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
    region = [
        _deep(root if root.startswith("/") or place.cwd is None else f"{place.cwd}/{root}", active(only[0]) if plainly else "")
        for root in roots or ["."]
    ]
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


# programs that write the files they name


def _operands(how: str, letters: str = "", words: tuple[str, ...] = ()) -> Program:
    """Writes each operand."""

    def run(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
        found, operands = options(arguments, letters, words)
        if "--help" in found or "--version" in found:
            return None
        walk.acts()
        for operand in operands:
            walk.write(operand, how, place)
        return []

    return run


def _rm(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments)
    walk.acts()
    deep = "-r" in found or "-R" in found or "--recursive" in found
    for operand in operands:
        walk.write(operand, "rm -r" if deep else "rm", place, "dir" if deep else "file")
    return []


def _tee(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments)
    for operand in operands:
        if operand != "-":
            walk.write(operand, "tee", place)
    return words_fed(place)


def _mv(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    sources, target, _ = _sources(walk, arguments, "tS", ("--target-directory", "--suffix"))
    for source in sources:
        walk.write(source, name, place, "dir")
    _into(walk, sources, target, name, place, False)
    return []


def _cp(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    sources, target, found = _sources(walk, arguments, "tS" if name == "cp" else "tSmog", ("--target-directory", "--suffix", "--mode", "--owner"))
    if name == "install" and ("-d" in found or "--directory" in found):
        return []
    deep = any(option in found for option in ("-r", "-R", "-a", "--recursive", "--archive"))
    _into(walk, sources, target, name, place, deep, "-T" in found)
    return []


def _ln(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments, "tS", ("--target-directory", "--suffix"))
    sources, target, _ = _sources(walk, arguments, "tS", ("--target-directory", "--suffix"))
    if len(operands) == 1 and not target:
        sources, target = operands, "."
    _into(walk, sources, target, name, place, False)
    return []


def _sources(walk: Walk, arguments: Fields, letters: str, words: tuple[str, ...]) -> tuple[Fields, str, dict[str, str]]:
    """(sources, target, options) of `cp a b target` and `cp -t target a b`."""
    found, operands = options(arguments, letters, words)
    walk.acts()
    target = found.get("-t") or found.get("--target-directory") or ""
    if target:
        return operands, target.rstrip("/") + "/", found
    if len(operands) < 2:
        if any(UNREAD in operand for operand in operands):
            walk.cannot_tell()
        return operands, "", found
    return operands[:-1], operands[-1], found


def _into(walk: Walk, sources: Fields, target: str, how: str, place: Place, deep: bool, whole: bool = False) -> None:
    """The target is written, or what has the source's name in it: whether it is a directory is not looked up."""
    if not target:
        return
    if not target.endswith("/") and base(target):
        walk.write(target, how, place)
    if whole:
        walk.write(target, how, place, "some")
        return
    folder = target.rstrip("/") if target != "/" else ""
    for source in sources:
        last = base(source)
        if UNREAD in last or UNREAD_QUOTED in last:
            if target.endswith("/") or "." not in base(target):
                walk.cannot_tell()
        elif not last:
            walk.write(target, how, place, "some" if deep else "file")
        else:
            walk.write(f"{folder}/{last}", how, place, "some" if deep else "file")


def _rsync(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(
        arguments, "efBMTiPJ" if name == "scp" else "efBMT",
        ("--rsh", "--exclude", "--include", "--filter", "--files-from", "--rsync-path", "--bwlimit", "--port", "--log-file", "--backup-dir",
         "--suffix", "--chmod", "--exclude-from", "--include-from", "--max-size", "--timeout", "--info", "--compare-dest", "--link-dest"),
    )  # fmt: skip
    if "-n" in found or "--dry-run" in found or len(operands) < 2:
        return None
    walk.acts()
    target, sources = operands[-1], operands[:-1]
    if "--remove-source-files" in found:
        for source in sources:
            walk.write(source, name, place, "some")
    if ":" in target.split("/")[0]:
        return None
    for source in sources:
        if source.endswith("/") or not base(source) or "--delete" in found or "-R" in found:
            walk.write(target, name, place, "some")
    local = [source.rpartition(":")[2] if ":" in source.split("/")[0] else source for source in sources if not source.endswith("/")]
    _into(walk, local, target, name, place, True)
    return None


def _dd(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    walk.acts()
    for argument in arguments:
        if argument.startswith("of="):
            walk.write(argument[3:], "dd", place)
    return None


def _sed(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    scripts: Fields = []
    operands: Fields = []
    inplace, suffix, at, end, given = False, "", 0, len(arguments), False
    while at < end:
        argument = arguments[at]
        at += 1
        if argument == "--":
            operands += arguments[at:]
            break
        if argument.startswith("--"):
            option, has, value = argument.partition("=")
            if option == "--in-place":
                inplace, suffix = True, value
            elif option in ("--expression", "--file"):
                given = True
                if not has and at < end:
                    value = arguments[at]
                    at += 1
                scripts.append(value if option == "--expression" else "")
            continue
        if not argument.startswith("-") or len(argument) < 2:
            operands.append(argument)
            continue
        for index, letter in enumerate(argument[1:], 2):
            if letter in "iI":
                inplace, suffix = True, argument[index:]
                if not suffix and at < end and (not arguments[at] or (arguments[at][0] == "." and "/" not in arguments[at])):
                    suffix = arguments[at]  # BSD: `-i ''`, `-i .bak`
                    at += 1
                break
            if letter in "efl":
                value = argument[index:]
                if not value and at < end:
                    value = arguments[at]
                    at += 1
                given = given or letter != "l"
                if letter == "e":
                    scripts.append(value)
                break
    if not given:
        scripts, operands = operands[:1], operands[1:]
    if any(_sed_writes(script) for script in scripts):
        walk.cannot_tell()
    if not inplace:
        _beware(walk, arguments)
        return None
    walk.acts()
    for operand in operands:
        walk.write(operand, "sed -i", place)
        if suffix and "*" not in plain(suffix) and "/" not in suffix:
            walk.write(operand + suffix, "sed -i", place)
    return []


def _sed_writes(script: str) -> bool:
    """`w file`, `s/a/b/w file` or `e` in a sed script, on the safe side."""
    at = script.find("w ")
    while at >= 0:
        if not at or script[at - 1] in " \t\n;{/|#,@!$" or (script[at - 1] in "gpIiMm0123456789" and at > 1 and script[at - 2] in "/|#,@gpIi"):
            return True
        at = script.find("w ", at + 1)
    return False


def _beware(walk: Walk, arguments: Fields) -> None:
    """A variable without quotes could be an option."""
    if any(argument.startswith(UNREAD) for argument in arguments):
        walk.cannot_tell()


def _perl(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """`perl -pi -e …`, `ruby -i -pe …`: the files are named, and what the script does besides is not read."""
    at, end, inplace, suffix, codes = 0, len(arguments), False, "", []
    while at < end and len(arguments[at]) > 1 and arguments[at][0] == "-":
        argument = arguments[at]
        at += 1
        if argument == "--":
            break
        if argument in ("--version", "-v", "--help", "-h"):
            return None
        for index, letter in enumerate(argument[1:], 2):
            if letter in "eE":
                codes.append(argument[index:] if argument[index:] or at >= end else arguments[at])
                at += not argument[index:]
                break
            if letter == "i":
                inplace, suffix = True, argument[index:]
                break
            if letter in "MmIFxCDr":
                break
    if not codes:
        walk.cannot_tell()  # a script that is a file
        return None
    if any(word in code for code in codes for word in _ACTS_IN_PERL) or not all(codes):
        walk.cannot_tell()
    if inplace:
        walk.acts()
        for operand in arguments[at:]:
            walk.write(operand, f"{name} -i", place)
            if suffix and "*" not in plain(suffix) and suffix != "e":
                walk.write(operand + suffix, f"{name} -i", place)
    return None


_ACTS_IN_PERL = ("open", "unlink", "system", "exec", "rename", "qx", "`", "write", "File", "require", "do ", "use ", "eval", "delete", "truncate", "IO.")


def _awk(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    inplace = False
    at, end = 0, len(arguments)
    while at < end and arguments[at].startswith("-") and len(arguments[at]) > 1:
        argument = arguments[at]
        at += 1
        if argument == "--":
            break
        if argument in ("--version", "--help"):
            return None
        if argument in ("-i", "--include"):
            inplace = inplace or arguments[at : at + 1] == ["inplace"]
            at += 1
        elif argument.startswith(("-f", "--file")):
            walk.cannot_tell()  # its program is a file
            return None
        elif argument in ("-F", "-v", "--field-separator", "--assign"):
            at += 1
    if at >= end:
        return None
    program = plain(arguments[at])
    if UNREAD in arguments[at] or "system(" in program or '| "' in program or '|"' in program or "|&" in program:
        walk.cannot_tell()
    printing = program.find("print")
    sign = program.find(">", printing) if printing >= 0 else -1
    if sign >= 0:
        begin = program.find('"', sign)
        between = program[sign + 1 : begin].strip(" >") if begin >= 0 else "?"
        target = program[begin + 1 : max(program.find('"', begin + 1), begin + 1)]
        if between or not target or "$" in target:
            walk.cannot_tell()
        else:
            walk.write(target, "awk >", place)
    if inplace:
        for operand in arguments[at + 1 :]:
            walk.write(operand, "awk -i inplace", place)
    return None


def _patch(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(
        arguments, "pidoDFrYzVB", ("--strip", "--input", "--directory", "--output", "--fuzz", "--reject-file", "--suffix", "--prefix")
    )
    if "--dry-run" in found or "--version" in found:
        return None
    walk.acts()
    inner = place.fork()
    directory = found.get("-d") or found.get("--directory")
    if directory:
        _cd(walk, "cd", [directory], inner)
    target = found.get("-o") or found.get("--output")
    if target or operands:
        walk.write(target or operands[0], "patch", inner)
        return None
    strips = found.get("-p", found.get("--strip", ""))
    if place.text is None or "-i" in found or "--input" in found:
        walk.cannot_tell()  # which files is said in the patch
        return None
    named = patched(place.text, int(strips) if strips.isdigit() and len(strips) < 3 else 0)
    for path in named:
        walk.write(path, "patch", inner)
        if not strips:
            walk.write(base(path) or path, "patch", inner)
    if not named:
        walk.cannot_tell()
    return None


def _apply_patch(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """Codex's own: `*** Update File: path`."""
    text = place.text if place.text is not None else "\n".join(arguments)
    named = 0
    for line in text.split("\n"):
        for sign in ("*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: "):
            if line.startswith(sign):
                walk.write(line[len(sign) :].strip(), "apply_patch", place)
                named += 1
    if not named:
        walk.cannot_tell()
    return None


def _editor(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    """Whether it will write is up to whoever sits in front of it."""
    if "-R" in arguments:
        return None
    found, operands = options(arguments, "cSuTtU" if name not in ("nano", "pico", "ed") else "")
    if "--version" in found or "--help" in found:
        return None
    walk.acts()
    for operand in operands:
        if not operand.startswith("+"):
            walk.may_write(operand, name, place)
    if not operands or any(option in found for option in ("-c", "-S", "-es", "-s")):
        walk.cannot_tell()
    return None


# programs with an output


_CURL_WORDS = tuple("--" + word for word in (
    "data data-raw data-binary data-urlencode header request user user-agent cookie cookie-jar dump-header referer form form-string upload-file "
    "proxy max-time connect-timeout write-out config cert key cacert retry retry-delay output output-dir url resolve range json limit-rate "
    "interface trace trace-ascii stderr etag-save etag-compare netrc-file unix-socket oauth2-bearer max-redirs capath ciphers"
).split())  # fmt: skip


def _curl(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "odHXuAbcDeFTxmwKECrzYyQtPU", _CURL_WORDS)
    folder = found.get("--output-dir", "").rstrip("/")
    if "-K" in found or "--config" in found:
        walk.cannot_tell()
    for option in ("-o", "--output", "-c", "--cookie-jar", "-D", "--dump-header", "--trace", "--trace-ascii", "--stderr", "--etag-save"):
        target = found.get(option, "")
        if target and target not in ("-", "%"):
            walk.write(f"{folder}/{target}" if folder and option in ("-o", "--output") else target, f"curl {option}", place)
    if any(option in found for option in ("-O", "--remote-name", "--remote-name-all")):
        for operand in [*operands, *([found["--url"]] if "--url" in found else [])]:
            _download(walk, operand, folder, "curl -O", place)
        if "-J" in found:
            walk.cannot_tell()
    return None


def _wget(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(
        arguments, "OPoaietTwQUARDI", ("--output-document", "--directory-prefix", "--output-file", "--header", "--user-agent", "--timeout")
    )
    target = found.get("-O") or found.get("--output-document") or ""
    for log in (found.get("-o"), found.get("-a"), found.get("--output-file")):
        if log:
            walk.write(log, "wget -o", place)
    if target == "-" or "--spider" in found or "--version" in found:
        return None
    if target:
        walk.write(target, "wget -O", place)
        return None
    folder = (found.get("-P") or found.get("--directory-prefix") or "").rstrip("/")
    if any(option in found for option in ("-r", "-m", "-p", "-i", "--recursive", "--mirror")):
        walk.write(folder or ".", "wget", place, "some")
    for operand in operands:
        _download(walk, operand, folder, "wget", place)
    return None


def _download(walk: Walk, url: str, folder: str, how: str, place: Place) -> None:
    """The file that a URL is named after."""
    last = url.partition("#")[0].partition(ONE)[0].partition("?")[0].partition("://")[2].partition("/")[2].rpartition("/")[2] or "index.html"
    walk.write(f"{folder}/{last}" if folder else last, how, place)


def _tar(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    mode, archive, folder = "", "", ""
    at, end = 0, len(arguments)
    while at < end:
        argument = plain(arguments[at]) if arguments[at].startswith("-") else arguments[at]
        first = not at
        at += 1
        if argument.startswith("--"):
            option, has, value = arguments[at - 1].partition("=")
            if not has and option in ("--file", "--directory", "--exclude", "--files-from", "--transform", "--strip-components") and at < end:
                value = arguments[at]
                at += 1
            mode = {"--extract": "x", "--get": "x", "--create": "c", "--list": "t", "--append": "r", "--update": "u"}.get(option, mode)
            archive = value if option == "--file" else archive
            folder = value if option == "--directory" else folder
            if option == "--to-stdout":
                mode = "t"
            if option == "--remove-files":
                walk.cannot_tell()
        elif argument.startswith("-") or first:
            for letter in argument.lstrip("-"):
                if letter in "xctruA":
                    mode = "t" if mode == "t" else letter
                elif letter == "O":
                    mode = "t"
                elif letter in "fCTX" and at < end:
                    archive = arguments[at] if letter == "f" else archive
                    folder = arguments[at] if letter == "C" else folder
                    at += 1
    if mode == "x":
        walk.write(folder or ".", "tar -x", place, "some")
    elif mode in ("c", "r", "u", "A") and archive not in ("", "-"):
        walk.write(archive, f"tar -{mode}", place)
    elif not mode and end:
        walk.cannot_tell()
    return None


def _unzip(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "dP")
    if any(option in found for option in ("-l", "-t", "-p", "-Z", "-v")) or not operands:
        return None
    walk.write(found.get("-d") or ".", "unzip", place, "some")
    return None


def _zip(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "xibtnP")
    if "-m" in found:
        walk.cannot_tell()
    if operands and operands[0] != "-":
        walk.write(operands[0], "zip", place)
        if "." not in base(operands[0]):
            walk.write(operands[0] + ".zip", "zip", place)
    return None


def _gzip(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "SbT")
    if any(option in found for option in ("-c", "--stdout", "--to-stdout", "-l", "--list", "-t", "--test")):
        return None
    for operand in operands:
        stem, dot, ending = operand.rpartition(".")
        packed = dot and ending in ("gz", "bz2", "xz", "zst", "Z", "tgz", "lz4")
        if "-k" not in found and "--keep" not in found:
            walk.write(operand, name, place, "dir" if "-r" in found else "file")
        walk.write(stem if packed else f"{operand}.{_ENDINGS.get(name, 'gz')}", name, place)
    return None


_ENDINGS = {"bzip2": "bz2", "xz": "xz", "zstd": "zst", "lz4": "lz4"}


def _sqlite(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in ("-cmd", "-separator", "-init", "-nullvalue", "-newline") else 1
    if "-readonly" in arguments[:at] or "--readonly" in arguments[:at] or "-version" in arguments[:at] or at >= len(arguments):
        return None
    statements = [plain(part).strip().lower() for text in [*arguments[at + 1 :], place.text or ""] for part in text.split(";") if part.strip()]
    if not statements:
        walk.cannot_tell()
    elif any(statement.startswith(_CHANGES) for statement in statements):
        walk.write(arguments[at], "sqlite3", place)
    elif not all(statement.startswith(_ASKS) for statement in statements):
        walk.cannot_tell()
    return None


_CHANGES = ("insert", "update", "delete", "create", "drop", "alter", "replace", "vacuum", "reindex", ".restore", ".import")
_ASKS = ("select", "explain", ".schema", ".tables", ".dump", ".headers", ".mode", ".indexes", ".indices", ".databases", "pragma table_info", ".quit")


def _output(how: str, letters: str, *long: str) -> Program:
    """Writes what its output option names, else nothing."""

    def run(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
        found, _ = options(arguments, letters, long)
        for option in ("-" + letters[0], *long):
            if found.get(option, "-") != "-":
                walk.write(found[option], how, place)
        return None

    return run


def _yq(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    found, operands = options(arguments, "opI")
    if "-i" in found or "--inplace" in found or "--in-place" in found:
        for operand in operands[1:] if operands[:1] and "." not in operands[0][1:] else operands:
            walk.write(operand, "yq -i", place)
    return None


def _split_file(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments, "abCnlt", ("--lines", "--bytes", "--number", "--suffix-length"))
    walk.write((operands[1] if len(operands) > 1 else "x") + ANY, "split", place)
    return None


def _rename(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments)
    walk.cannot_tell()
    for operand in operands[1:]:
        walk.may_write(operand, name, place)
    return None


# formatters: name -> (subcommands, options that make it write, options that keep it from writing, options with a value, default)
# No option that makes it write: it always does. Default: what it formats when nothing is named.

_FORMATTERS: dict[str, tuple[str, str, str, str, str]] = {
    "black": ("", "", "--check --diff -c --code", "-l --line-length -t --target-version --config --include --exclude --extend-exclude -W", ""),
    "isort": ("", "", "-c --check --check-only --diff -d --show-files", "-l --line-length --profile --settings-path --sp -p -s --skip --src", ""),
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
    verbs = _FORMATTERS[name][0].split()
    if arguments and arguments[0] in ("--version", "--help", "-h", "-V", "version", "help"):
        return None
    if verbs:
        verb = plain(arguments[0]) if arguments else ""
        if verb in verbs:
            return _format(walk, f"{name} {verb}", _FORMATTERS[name], arguments[1:], place)
        if verb not in _HARMLESS.get(name, ()):
            walk.cannot_tell()
        return None
    return _format(walk, name, _FORMATTERS[name], arguments, place)


def _format(walk: Walk, how: str, row: tuple[str, str, str, str, str], arguments: Fields, place: Place) -> None:
    _, makes, keeps, valued, default = row
    words = [plain(argument) for argument in arguments]
    flags = {word for word in words if word.startswith("-")} | {word.partition("=")[0] for word in words if word.startswith("-")}
    walk.acts()
    if flags & set(keeps.split()) or (makes and not flags & set(makes.split())):
        return
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
            return  # standard input to standard output
        elif not word.startswith(("-", "!")):
            named = True
            argument = argument.removesuffix("...") or "."
            marked = any(sign in argument for sign in (ANY, ONE, CLASS))
            walk.write(argument if marked else active(argument), how, place, "some")
    if not named and default:
        walk.write(default, how, place, "some")


def _ruff(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    verb = plain(arguments[0]) if arguments else ""
    row = _RUFF.get(verb)
    if row is not None:
        _format(walk, f"ruff {verb}", row, arguments[1:], place)
    elif verb not in ("rule", "linter", "config", "version", "help", "--version", "--help"):
        walk.cannot_tell()
    return None


_RUFF_VALUES = "--select --ignore --extend-select --config --line-length --target-version --exclude --extend-exclude --output-format --fixable"
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
        if module in _FORMATTERS or module in ("ruff", "mypy", "flake8", "pylint", "pyright"):
            return walk.run([module, *rest], place)
        if module == "json.tool":
            _, operands = options(rest, "", ("--indent",))
            if len(operands) > 1:
                walk.write(operands[1], "python -m json.tool", place)
            return None
    walk.cannot_tell()
    return None


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
    table.update(dict.fromkeys(_FORMATTERS, _formatter))
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
    "nice": _prefix("n", ("--adjustment",)), "ionice": _prefix("cnp"), "stdbuf": _prefix("ioe"), "chronic": _prefix(""), "unbuffer": _prefix(""),
    "caffeinate": _prefix("tw"), "command": _command, "builtin": _prefix(""), "exec": _prefix("a"), "busybox": _prefix(""),
    "noglob": _prefix(""), "nocorrect": _prefix(""), "coproc": _prefix(""), "then": _prefix(""), "rtk": _prefix(""),
    "npx": _runner, "bunx": _runner, "pnpm": _runner, "yarn": _runner, "npm": _runner, "bun": _runner, "uv": _runner, "uvx": _runner,
    "poetry": _runner, "pipenv": _runner, "pdm": _runner, "hatch": _runner, "rye": _runner, "pipx": _runner, "bundle": _runner,
    "xargs": _xargs, "gxargs": _xargs, "find": _find, "gfind": _find, "fd": _fd, "fdfind": _fd,
    "rm": _rm, "unlink": _operands("unlink"), "shred": _operands("shred", "ns"), "rmdir": _operands("rmdir"),
    "touch": _operands("touch", "drt", ("--date", "--reference")), "truncate": _operands("truncate", "sr", ("--size", "--reference")),
    "fallocate": _operands("fallocate", "lo"), "mkfifo": _operands("mkfifo", "m"), "tee": _tee, "sponge": _operands("sponge"),
    "mv": _mv, "gmv": _mv, "cp": _cp, "gcp": _cp, "install": _cp, "ln": _ln, "rsync": _rsync, "scp": _rsync, "dd": _dd,
    "sed": _sed, "gsed": _sed, "perl": _perl, "ruby": _perl, "awk": _awk, "gawk": _awk, "mawk": _awk, "nawk": _awk,
    "patch": _patch, "apply_patch": _apply_patch, "git": git, "gh": _gh,
    "vim": _editor, "vi": _editor, "nvim": _editor, "nano": _editor, "pico": _editor, "emacs": _editor, "ed": _editor, "ex": _editor,
    "micro": _editor, "helix": _editor, "hx": _editor,
    "curl": _curl, "wget": _wget, "tar": _tar, "gtar": _tar, "bsdtar": _tar, "unzip": _unzip, "zip": _zip, "gzip": _gzip, "gunzip": _gzip,
    "bzip2": _gzip, "bunzip2": _gzip, "xz": _gzip, "unxz": _gzip, "zstd": _gzip, "sqlite3": _sqlite,
    "yq": _yq, "split": _split_file, "rename": _rename, "tree": _output("tree -o", "o"), "xmllint": _output("xmllint -o", "o", "--output"),
    "openssl": _unknown, "xxd": _uniq, "ruff": _ruff, "python": _python, "python3": _python,
})  # fmt: skip
