"""Each rule of check_house.py fires on a small offending tree, and a tidy tree passes."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import check_house  # noqa: E402

RANKS = "5 model yes layers\n3 ops yes operations\n3 window no integers\n0 base no errors\n9 cli no the program\n"
PUBLIC = "#pragma once\n#include <beacon/export.h>\n#include <vector>\n"


class HouseTest(unittest.TestCase):
    def offences(self, files, exceptions=""):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            tree = {
                "tests/house/ranks.txt": RANKS,
                "tests/house/exceptions.txt": exceptions,
                "ARCHITECTURE.md": check_house.TABLE_BEGIN + check_house.TABLE_END,
                **files,
            }
            for name, text in tree.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            check_house.House(root).check(write=True)  # brings the table up to date
            return check_house.House(root).check()

    def assert_offence(self, files, part, exceptions=""):
        found = self.offences(files, exceptions)
        self.assertEqual(len(found), 1, found)
        self.assertIn(part, found[0])

    def test_a_tidy_tree_passes(self):
        tree = {
            "src/model/layer.cc": '#include "model/layer.h"\n#include "ops/norm.h"\n#include <ATen/ATen.h>\n',
            "src/window/plan.cc": '#include "base/check.h"\n#include <vector>\n// never calls abort() itself\n'
            'const char* text = "printf(";\n',
            "src/cli/main.cc": "int main() { std::printf(\"hello\"); }\n",
            "include/beacon/session.h": PUBLIC,
        }
        self.assertEqual(self.offences(tree), [])

    def test_arrows(self):
        self.assert_offence({"src/base/a.cc": '#include "model/layer.h"\n'}, "base (rank 0) includes model/layer.h")
        self.assert_offence({"src/window/a.cc": '#include "ops/norm.h"\n'}, "window (rank 3) includes ops/norm.h")
        self.assert_offence({"src/model/a.cc": '#include "layer.h"\n'}, "expected \"MODULE/file.h\"")
        self.assert_offence({"src/extras/a.cc": "int a;\n"}, "module extras is not in")

    def test_torch_stays_where_it_belongs(self):
        self.assert_offence({"src/window/a.cc": "#include <ATen/ATen.h>\n"}, "torch is not for this module")
        self.assert_offence({"src/window/a.cc": "#include <c10/util/Half.h>\n"}, "torch is not for this module")

    def test_public_headers_need_std_only(self):
        for name in ("<fmt/format.h>", "<torch/torch.h>", '"base/check.h"', "<nlohmann/json.hpp>"):
            self.assert_offence({"include/beacon/a.h": PUBLIC + f"#include {name}\n"}, "a public header includes")

    def test_the_library_is_silent(self):
        for call in ("std::cout << 1", "printf(\"x\")", "std::exit(1)", "abort()", "std::fprintf(stderr, \"x\")"):
            self.assert_offence({"src/ops/a.cc": f"void f() {{ {call}; }}\n"}, "must not print or end")
        self.assertEqual(self.offences({"src/ops/a.cc": "void f() { std::snprintf(b, 1, \"x\"); s.abort(); }\n"}), [])

    def test_size_and_its_exceptions(self):
        long_file = {"src/ops/a.cc": "int a;\n" * 501}
        self.assert_offence(long_file, "expected at most 500 lines, found 501")
        self.assertEqual(self.offences(long_file, "length src/ops/a.cc one table of constants\n"), [])
        self.assert_offence({}, "is not needed any more", "length src/ops/a.cc one table of constants\n")

    def test_text(self):
        self.assert_offence({"src/ops/a.cc": "// caf\u00e9\n"}, "a character outside ASCII")
        self.assert_offence({"docs/a.md": "see /" + "home/me/x\n"}, "a path of one machine")
        self.assert_offence({"src/ops/a.cc": "// TO" + "DO\n"}, "a mark of unfinished work")
        self.assert_offence({"src/ops/a.h": "int a;\n"}, "without #pragma once")
        self.assert_offence({"src/ops/a.h": "#pragma once\nusing namespace std;\n"}, "using namespace")
        self.assertEqual(self.offences({"tests/data/a.json": "caf\u00e9"}), [])


if __name__ == "__main__":
    unittest.main()
