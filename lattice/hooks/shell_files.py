"""What the programs write that name their files: `rm`, `cp`, `sed -i`, `patch`, `curl -o`, `tar -x` and the like."""

from __future__ import annotations

from lattice.hooks.shell_git import patched
from lattice.hooks.shell_syntax import ANY, ONE, TILDE, UNREAD, UNREAD_QUOTED, plain
from lattice.hooks.shell_walk import base, is_many, options, words_fed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lattice.hooks.shell_walk import Fields, Place, Walk

    Program = Callable[[Walk, str, Fields, Place], Fields | None]


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
    _into(walk, sources, target, name, place, "dir")
    return []


def _cp(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    letters = "tS" if name != "install" else "tSmog"
    sources, target, found = _sources(walk, arguments, letters, ("--target-directory", "--suffix", "--mode", "--owner", "--group"))
    if name == "install" and ("-d" in found or "--directory" in found):
        return []
    deep = any(option in found for option in ("-r", "-R", "-a", "--recursive", "--archive"))
    _into(walk, sources, target, name, place, "some" if deep else "file", "-T" in found)
    return []


def _ln(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    _, operands = options(arguments, "tS", ("--target-directory", "--suffix"))
    sources, target, _ = _sources(walk, arguments, "tS", ("--target-directory", "--suffix"))
    if len(operands) == 1 and not target:
        sources, target = operands, "."
    _into(walk, sources, target, name, place, "file")
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


def _into(walk: Walk, sources: Fields, target: str, how: str, place: Place, reach: str, whole: bool = False) -> None:
    """The target is written, or what has the source's name in it: whether it is a directory is not looked up."""
    if not target:
        return
    if is_many(target):  # the last of what it matches; the others are sources
        walk.write(target, how, place, "some")
        return
    found = walk.path(target, place)
    if not target.endswith("/") and base(target):
        is_new = found is not None and not walk.there(found[1])  # then a directory gets this name
        walk.write(target, how, place, reach if is_new else "file")
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
            walk.write(target, how, place, "some" if reach == "some" else "file")
        else:
            walk.write(f"{folder}/{last}", how, place, reach)


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
    _into(walk, local, target, name, place, "some")
    return None


def _dd(walk: Walk, name: str, arguments: Fields, place: Place) -> Fields | None:
    walk.acts()
    for argument in arguments:
        if argument.startswith("of="):
            target = argument[3:]
            walk.write(TILDE + target[1:] if target.startswith("~/") else target, "dd", place)  # bash takes it for an assignment
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
        walk.beware(arguments)
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
        before = script[at - 1] if at else ";"
        if before in " \t\n;{/|#,@!$" or (before in "gpIiMm0123456789" and script[at - 2] in "/|#,@gpIi"):
            return True
        at = script.find("w ", at + 1)
    return False


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


_ACTS_IN_PERL = (
    "open", "unlink", "system", "exec", "rename", "qx", "`", "write", "File", "require", "do ", "use ", "eval", "delete", "truncate", "IO.",
)  # fmt: skip


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
        walk.enter(directory, inner)
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
    "data data-raw data-binary data-urlencode header request user user-agent cookie cookie-jar dump-header referer form form-string "
    "upload-file proxy max-time connect-timeout write-out config cert key cacert retry retry-delay output output-dir url resolve range "
    "json limit-rate "
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
    path = url.partition("#")[0].partition(ONE)[0].partition("?")[0].partition("://")[2].partition("/")[2]
    last = path.rpartition("/")[2] or "index.html"
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
            if not has and option in _TAR_WORDS and at < end:
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


_TAR_WORDS = ("--file", "--directory", "--exclude", "--files-from", "--transform", "--strip-components")


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
    if at >= len(arguments) or any(option in arguments[:at] for option in ("-readonly", "--readonly", "-version")):
        return None
    texts = [*arguments[at + 1 :], place.text or ""]
    statements = [plain(part).strip().lower() for text in texts for part in text.split(";") if part.strip()]
    if not statements:
        walk.cannot_tell()
    elif any(statement.startswith(_CHANGES) for statement in statements):
        walk.write(arguments[at], "sqlite3", place)
    elif not all(statement.startswith(_ASKS) for statement in statements):
        walk.cannot_tell()
    return None


_CHANGES = ("insert", "update", "delete", "create", "drop", "alter", "replace", "vacuum", "reindex", ".restore", ".import")
_ASKS = (
    "select", "explain", ".schema", ".tables", ".dump", ".headers", ".mode", ".indexes", ".indices", ".databases", ".quit",
    "pragma table_info",
)  # fmt: skip


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


FILES: dict[str, Program] = {
    "rm": _rm, "unlink": _operands("unlink"), "shred": _operands("shred", "ns"), "rmdir": _operands("rmdir"),
    "touch": _operands("touch", "drt", ("--date", "--reference")), "truncate": _operands("truncate", "sr", ("--size", "--reference")),
    "fallocate": _operands("fallocate", "lo"), "mkfifo": _operands("mkfifo", "m"), "tee": _tee, "sponge": _operands("sponge"),
    "mv": _mv, "gmv": _mv, "cp": _cp, "gcp": _cp, "install": _cp, "ln": _ln, "rsync": _rsync, "scp": _rsync, "dd": _dd,
    "sed": _sed, "gsed": _sed, "perl": _perl, "ruby": _perl, "awk": _awk, "gawk": _awk, "mawk": _awk, "nawk": _awk,
    "patch": _patch, "apply_patch": _apply_patch,
    "vim": _editor, "vi": _editor, "nvim": _editor, "nano": _editor, "pico": _editor, "emacs": _editor, "ed": _editor, "ex": _editor,
    "micro": _editor, "helix": _editor, "hx": _editor,
    "curl": _curl, "wget": _wget, "tar": _tar, "gtar": _tar, "bsdtar": _tar, "unzip": _unzip, "zip": _zip, "gzip": _gzip, "gunzip": _gzip,
    "bzip2": _gzip, "bunzip2": _gzip, "xz": _gzip, "unxz": _gzip, "zstd": _gzip, "sqlite3": _sqlite,
    "yq": _yq, "split": _split_file, "rename": _rename, "tree": _output("tree -o", "o"),
    "xmllint": _output("xmllint -o", "o", "--output"),
}  # fmt: skip
