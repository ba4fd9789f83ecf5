"""What a fault most likely comes from, by a glance at the code of the piece; never a proof."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.testing.subject import Subject

LOOKS_AHEAD = (
    (r"\.shift\(\s*(periods\s*=\s*)?-", "shift(-n) brings later bars back: shift(n) looks back"),
    (r"center\s*=\s*True", "rolling(center=True) reads half of its window ahead: leave center out"),
    (r"\.diff\(\s*(periods\s*=\s*)?-|pct_change\(\s*(periods\s*=\s*)?-", "diff(-n) reads later bars: diff(n)"),
    (r"\[::\s*-1\]", "[::-1] lets a running figure begin at the end"),
    (r"\.bfill\(|backfill|fillna\(.*bfill", "bfill() fills from later bars: ffill()"),
    (r"\.interpolate\(", "interpolate() reads the next known bar: ffill()"),
    (r"\.resample\(", "resample labels a long bar by its start, before it is over: shift it until it has closed"),
    (r"np\.(gradient|convolve|correlate)\(|savgol|filtfilt", "a filter that reads on both sides of a bar"),
    (r"\.feeds\[", "a feed's bar is known once it has closed: let the core join it, with on = FEED"),
    (r"merge_asof\(|\.reindex\(", "a join by start times takes a long bar before it is over"),
    (r"\.(iloc|values|to_numpy\(\))\[-1\]", "[-1] is the last bar of the whole history"),
    (
        r"^(?!.*(rolling|ewm|expanding|groupby)\().*\.(mean|std|var|min|max|median|quantile|rank|sum)\(",
        "a figure of the whole history: use rolling(n) or expanding()",
    ),
)
"""pattern of a line -> what is wrong with it, the surest first."""
NOT_FINITE = (
    (r"[^/]/[^/]", "a division by 0 where nothing moved or traded: np.where, or a floor below the line"),
    (r"\blog\(", "the logarithm of 0 or less"),
    (r"groupby\(", "groupby() begins anew with each group: its first rows are NaN"),
)
REMEMBERS = (
    (r"\bewm\(|\bema\(|\.rsi\(|\.atr\(|\.adx\(", "an exponential average feels its start many times its period"),
    (r"cum(sum|prod|max|min)\(|expanding\(", "a running sum never forgets where it began"),
)


def likely(
    subject: Subject, patterns: Sequence[tuple[str, str]], column: str = "", *, strict: bool = False
) -> tuple[str, str]:
    """Return (`file:line code`, what is likely wrong with it) of the surest match in the piece's code, else "", "".

    Lines that name the column come first, then the class, then the rest of its module. Of patterns so common that they
    say little (`strict`), a line that does not name the column is only accused where no other in the class matches.
    """
    own, others = _lines(subject)
    named = [one for one in own if column and re.search(rf"(^|[\"'\s(]){re.escape(_stem(column))}", one[1])]
    for group in (named, own, [] if strict else others):
        for pattern, mistake in patterns:
            matches = [(where, line, found) for where, line in group if (found := re.search(pattern, line))]
            if matches and (group is named or not strict or len(matches) == 1):
                where, line, found = matches[0]
                return f"{where} {_snippet(line, found)}", mistake
    return "", ""


def _stem(column: str) -> str:
    return re.sub(r"(_?\d+)+$", "", column)


def _snippet(line: str, found: re.Match[str]) -> str:
    """Return the call that a match lies in, or begins: `rolling(9, center=True)`."""
    depth, opening = 0, -1
    for at in range(found.end() - 1, -1, -1):
        depth += (line[at] == ")") - (line[at] == "(")
        if depth < 0:
            opening = at
            break
    if opening < 0:
        return line
    begin = re.search(r"[\w.]*$", line[:opening])
    depth = 0
    for at in range(opening, len(line)):
        depth += (line[at] == "(") - (line[at] == ")")
        if depth == 0:
            return line[begin.start() if begin else opening : at + 1].lstrip(".")
    return line


def _lines(subject: Subject) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return (`file:line`, code) of the class, and of what else it may call in its module; no comments, no docstrings.

    What lies in other classes of the module is theirs, but for those that it inherits from.
    """
    path = Path(getattr(sys.modules.get(subject.cls.__module__), "__file__", None) or "")
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return [], []
    silent, spans = _documentation(tree), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            spans[node.name] = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    inherited = {cls.__name__ for cls in subject.cls.__mro__}
    foreign = {at for name, span in spans.items() if name not in inherited for at in span}
    own: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for at, line in enumerate(text.splitlines(), 1):
        code = line.partition("  #")[0].strip()
        if code and at not in silent and at not in foreign and not code.startswith(("#", "import ", "from ")):
            (own if at in spans.get(subject.cls.__name__, ()) else others).append((f"{path.name}:{at}", code))
    return own, others


def _documentation(tree: ast.AST) -> set[int]:
    """Return the numbers of the lines that are docstrings, or declare parameters."""
    found: set[int] = set()
    for node in ast.walk(tree):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        declared = isinstance(node, ast.AnnAssign | ast.Assign) and "param" in ast.dump(node)[:400]
        if (text or declared) and isinstance(node, ast.stmt):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found
