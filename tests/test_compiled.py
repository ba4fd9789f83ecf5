"""Machine code on disk: used again by the next process, and never after an edit of what it was made from."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mnqcore

PROBE = """
    import json
    import numpy as np
    from mnqcore.simulator import kernel
    from mnqcore.simulator.account import Account
    from mnqcore.simulator.compiled import source_stamp
    from tests.tapes import records, rulebook

    tape, orders = records([(100, 101, 99, 100), (102, 104, 101, 103), (105, 106, 104, 105), (105, 105, 105, 105)])
    account = Account(tape, orders, rulebook(slippage=1), initial_balance=10_000.0)
    account.run(np.array([1, 3, 0, 0], np.int8), sizes=np.ones(4, np.int64))
    counts = kernel.advance.stats
    print(json.dumps({
        "fills": [int(account.trades[0][name][0]) for name in ("entry_price", "exit_price")],
        "hits": sum(counts.cache_hits.values()),
        "misses": sum(counts.cache_misses.values()),
        "stamp": source_stamp(),
        "file": kernel.__file__,
    }))
"""

STAMPS = """
    import json
    from pathlib import Path
    import mnqcore
    from mnqcore.simulator.compiled import source_stamp

    stamps = {"": source_stamp()}
    root = Path(mnqcore.__file__).parent
    for path in [*sorted(root.glob("simulator/*.py")), *(root / part for part in %r)]:
        text = path.read_text()
        path.write_text(text + "# edited\\n")
        source_stamp.cache_clear()
        stamps[path.name + path.parent.name] = source_stamp()
        path.write_text(text)
    print(json.dumps(stamps))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Return a folder with a copy of the package, without its machine code."""
    folder = tmp_path_factory.mktemp("copy")
    source, tests = Path(mnqcore.__file__).parent, Path(__file__).parent
    shutil.copytree(source, folder / "mnqcore", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for name in ("__init__.py", "tapes.py"):
        shutil.copy(tests / name, folder / "tests")
    return folder


def run(folder, script):
    """Run a script in a fresh process that sees only the copy, and return what it printed as JSON."""
    (folder / "script.py").write_text(textwrap.dedent(script))
    environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_machine_code_is_kept_and_never_stale(package):
    first = run(package, PROBE)
    assert Path(first["file"]).is_relative_to(package)
    assert first["fills"] == [103, 104]  # 102 + 1, 105 - 1
    assert (first["hits"], first["misses"]) == (0, 1)

    second = run(package, PROBE)
    assert second["fills"] == first["fills"]
    assert (second["hits"], second["misses"]) == (1, 0)

    rules, kernel = package / "mnqcore" / "rules.py", package / "mnqcore" / "simulator" / "kernel.py"
    before = kernel.stat().st_mtime_ns
    text = rules.read_text()
    assert text.count("return price + side * slippage") == 1
    rules.write_text(text.replace("return price + side * slippage", "return price + side * slippage * 7"))
    third = run(package, PROBE)
    assert third["fills"] == [109, 98]  # 102 + 7, 105 - 7
    assert third["stamp"] != first["stamp"]
    assert kernel.stat().st_mtime_ns == before  # so numba alone would have seen no change

    rules.write_text(text)
    fourth = run(package, PROBE)
    assert fourth["fills"] == first["fills"]
    assert (fourth["hits"], fourth["misses"]) == (1, 0)


def test_an_edit_of_any_source_of_the_machine_code_is_noticed(package):
    stamps = run(package, STAMPS % (["rules.py", "api/values.py", "tape/records.py"],))

    assert len(stamps) >= 9
    assert len(set(stamps.values())) == len(stamps)
