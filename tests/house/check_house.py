"""Checks the rules of the house that a compiler does not: arrows between modules, outside headers, size, characters.

Usage: check_house.py REPOSITORY [--write]. Prints every offence and exits 1 if there is one. --write renews the table
in ARCHITECTURE.md from ranks.txt.
"""
import re
import sys
from pathlib import Path

MAX_LINES = {".h": 200, ".cc": 500, ".py": 500, ".cmake": 500, ".sh": 500}
CODE = {".h", ".cc", ".inc"}
TEXT = {*CODE, ".py", ".cmake", ".sh", ".txt", ".md", ".json", ".supp", ".map"}
FOLDERS = ("src", "include", "tests", "fuzz", "bench", "examples", "cmake", "scripts", "docs", ".ci")
OUTPUT = re.compile(
    r"\bstd::(?:cout|cerr|clog)\b|(?<![\w.>])(?:std::)?(?:printf|fprintf|puts|fputs|putchar|perror|exit|_exit|quick_exit"
    r"|abort|terminate)\s*\("
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
TORCH = re.compile(r"(?:torch|ATen|c10|caffe2)/")
# Spelled in two parts so that this file does not offend itself.
MACHINE_PATH = re.compile("/(?:" + "|".join(("wor" + "k", "roo" + "t", "hom" + "e", "tm" + "p")) + r")/\w")
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
TABLE_BEGIN, TABLE_END = "<!-- ranks: tests/house/ranks.txt -->\n", "<!-- end of ranks -->\n"


def read_table(path, columns):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split(maxsplit=columns - 1) for line in lines if line.strip() and not line.startswith("#")]


def strip_code(text):
    """Code without comments and without the contents of literals; lines stay where they are."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S
    )
    return pattern.sub(lambda match: '""' + "\n" * match.group().count("\n"), text)


class House:
    def __init__(self, root):
        self.root = root
        self.offences = []
        self.ranks, self.torch, self.rows = {}, set(), read_table(root / "tests/house/ranks.txt", 4)
        for rank, module, torch, _ in self.rows:
            self.ranks[module] = int(rank)
            if torch == "yes":
                self.torch.add(module)
        self.exceptions = {(rule, path): False for rule, path, _ in read_table(root / "tests/house/exceptions.txt", 3)}

    def offence(self, path, line, message):
        self.offences.append(f"{path.relative_to(self.root)}:{line}: {message}")

    def excused(self, rule, path):
        key = (rule, str(path.relative_to(self.root)))
        if key not in self.exceptions:
            return False
        self.exceptions[key] = True
        return True

    def files(self):
        for folder in FOLDERS:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path
        yield from sorted(path for path in self.root.iterdir() if path.is_file() and path.name != ".git")

    def is_data(self, path):
        relative = path.relative_to(self.root).parts
        return relative[:2] in {("tests", "data"), ("fuzz", "corpus")}

    def check_include(self, path, line, module, kind, name):
        """One include of a file of module `module`, or of a public header when module is None."""
        public = name.startswith("beacon/")
        if module is None:
            if kind != "<" or not (public or re.fullmatch(r"[a-z_]+", name)):
                self.offence(path, line, f"a public header includes {name}; expected std or <beacon/...> headers only")
            return
        if TORCH.match(name) and module not in self.torch:
            self.offence(path, line, f"{module} includes {name}, but torch is not for this module")
        if kind == '"':
            target = name.split("/")[0]
            if target not in self.ranks or "/" not in name:
                self.offence(path, line, f'expected "MODULE/file.h" with a module of ranks.txt, found "{name}"')
            elif target != module and self.ranks[target] >= self.ranks[module]:
                self.offence(path, line, f"{module} (rank {self.ranks[module]}) includes {name} (rank {self.ranks[target]})")

    def check_code(self, path, text):
        parts = path.relative_to(self.root).parts
        code = strip_code(text)
        if path.suffix == ".h" and "#pragma once" not in text:
            self.offence(path, 1, "a header without #pragma once")
        if parts[0] not in ("src", "include"):
            return
        module = parts[1] if parts[0] == "src" else None
        if module is not None and module not in self.ranks:
            self.offence(path, 1, f"module {module} is not in tests/house/ranks.txt")
            return
        for match in INCLUDE.finditer(text):
            self.check_include(path, text.count("\n", 0, match.start()) + 1, module, *match.groups())
        if module != "cli" and not self.excused("output", path):
            for match in OUTPUT.finditer(code):
                line = code.count("\n", 0, match.start()) + 1
                self.offence(path, line, f"the library must not print or end the program: {match.group()}")
        if path.suffix == ".h" and re.search(r"^\s*using\s+namespace\b", code, re.M):
            self.offence(path, 1, "using namespace in a header")

    def check_file(self, path):
        if path.suffix not in TEXT and path.name not in {"Makefile", "run"} or self.is_data(path):
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix in CODE:
            self.check_code(path, text)
        count = text.count("\n")
        if count > MAX_LINES.get(path.suffix, count) and not self.excused("length", path):
            self.offence(path, count, f"expected at most {MAX_LINES[path.suffix]} lines, found {count}: split it")
        if not text.isascii() and not self.excused("ascii", path):
            line = next(i for i, row in enumerate(text.split("\n"), 1) if not row.isascii())
            self.offence(path, line, "a character outside ASCII; write it as an escape")
        for pattern, message in ((MACHINE_PATH, "a path of one machine"), (UNFINISHED, "a mark of unfinished work")):
            for match in pattern.finditer(text):
                self.offence(path, text.count("\n", 0, match.start()) + 1, f"{message}: {match.group()}")

    def table(self):
        rows = ["| rank | module | torch | holds |\n", "|---|---|---|---|\n"]
        rows += [f"| {rank} | `{module}` | {torch} | {holds} |\n" for rank, module, torch, holds in self.rows]
        return TABLE_BEGIN + "".join(rows) + TABLE_END

    def check_table(self, write):
        path = self.root / "ARCHITECTURE.md"
        text = path.read_text(encoding="utf-8")
        begin, end = text.find(TABLE_BEGIN), text.find(TABLE_END)
        if begin < 0 or end < 0:
            self.offence(path, 1, "the table of ranks is missing")
        elif write:
            path.write_text(text[:begin] + self.table() + text[end + len(TABLE_END) :], encoding="utf-8")
        elif text[begin : end + len(TABLE_END)] != self.table():
            self.offence(path, 1, "the table of ranks differs from ranks.txt; run tests/house/check_house.py . --write")

    def check(self, write=False):
        for path in self.files():
            self.check_file(path)
        self.check_table(write)
        for (rule, path), used in self.exceptions.items():
            if not used:
                self.offences.append(f"tests/house/exceptions.txt: {rule} {path} is not needed any more")
        return self.offences


def main():
    house = House(Path(sys.argv[1]).resolve())
    offences = house.check("--write" in sys.argv)
    for offence in offences:
        print(offence)
    print(f"{len(offences)} offences")
    sys.exit(1 if offences else 0)


if __name__ == "__main__":
    main()
