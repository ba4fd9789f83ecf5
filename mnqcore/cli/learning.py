"""What a run's screen says of models: which bars, how they did on those before, their habits, folds and seeds."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from mnqcore.cli.table import columns, filled, fixed, percent

if TYPE_CHECKING:
    Document = dict[str, Any]

_BANNERS = {
    "test": "TEST bars: the models were made without them",
    "validate": "VALIDATION bars: the models were chosen by them; this is no test",
    "in-sample": "IN-SAMPLE: the models were trained on these bars; this says nothing of others",
}
"""Window -> the line that says what its figures are worth."""
ROWS = (("net profit", "net_profit"), ("max drawdown", "max_drawdown"), ("Sharpe (daily)", "sharpe"),
        ("trades", "trades"))  # fmt: skip
"""(label, key) of the figures by which plays are compared."""
_HABITS = {"hold": "hold", "without effect": "no_op", "entries denied": "denied"}


def banner(metrics: Document) -> list[str]:
    """Return the line that every table of a model's figures begins with; nothing for a rule."""
    window = metrics.get("window")
    return [_BANNERS[window["name"]]] if window else []


def model(metrics: Document, manifest: Document) -> list[str]:
    """Return what traded: agent, extractor, reward, and to when it was trained."""
    known = manifest.get("model")
    if not known:
        return []
    plugins, folds = manifest["plugins"], known["folds"]
    made = [plugins["agent"]["use"], plugins["extractor"]["use"], f"reward {plugins['reward']['use']}"]
    timesteps = plugins["agent"]["params"].get("timesteps")
    made += [f"{timesteps:,} bars"] if timesteps else []
    many = f", {len(folds)} folds" if len(folds) > 1 else ""
    last = folds[-1]["windows"]
    trained = f"trained to {_day(last['train']['last'])}, validated to {_day(last['validate']['last'])}{many}"
    seeds = len(metrics["learning"]["seeds"])
    seed = f"seed {known['seed']}" + (f", one of {seeds}" if seeds > 1 else "")
    lines = filled("model", [*made, trained, seed])
    lines += filled("", [f"of run {known['origin']}"]) if known["origin"] else []
    rounding = "features or extractor round otherwise here than where it was saved"
    return lines + ([] if known["bit_equal"] else filled("", [f"not bit-equal: {rounding}"]))


def learning(metrics: Document, manifest: Document) -> list[str]:
    """Return the tables of windows or folds, of seeds, and the model's habits."""
    found = metrics.get("learning")
    if not found:
        return []
    folds, habits = found["folds"], found["actions"]
    tables = _folds(folds, metrics["window"]["name"]) if len(folds) > 1 else _windows(folds[0])
    shares = [f"{words} {percent(habits[key])}" for words, key in _HABITS.items()]
    if blind := habits.get("blind"):
        shares.append(f"held at {blind:,} bars whose window lacks a feed")
    return [*tables, *_seeds(metrics, manifest["model"]["seed"]), *filled("actions", shares), ""]


def _windows(fold: Document) -> list[str]:
    """Return train, validation and test side by side: the picture of overfitting."""
    names = [name for name in ("train", "validate", "test", "in-sample") if name in fold]
    rows = [[label, *(_cell(fold[name], key) for name in names)] for label, key in ROWS]
    dates = ["first day", *(_day(fold[name]["first"]) for name in names)]
    return columns(("", *names), [dates, *rows], right=range(1, len(names) + 1))


def _folds(folds: list[Document], window: str) -> list[str]:
    """Return a line a fold; of a fold that traded nothing of the window there is nothing to say."""
    names = [name for name in ("train", "validate", "test", "in-sample") if name in ("train", "validate", window)]
    header = ["FOLD", "FROM", *(word for name in names for word in (name.upper(), "SHARPE")), "TRADES"]
    rows = []
    for fold in folds:
        cells = [cell for name in names for cell in _pair(fold.get(name))]
        own = fold.get(window)
        rows.append([str(fold["fold"]), _day(own["first"]) if own else "-", *cells, _trades(own)])
    return columns(header, rows, right=range(2, len(header)))


def _pair(figures: Document | None) -> tuple[str, str]:
    return (fixed(figures["net_profit"], 0), fixed(figures["sharpe"])) if figures else ("-", "-")


def _trades(figures: Document | None) -> str:
    return f"{figures['trades']:,}" if figures else "-"


def _seeds(metrics: Document, own: int) -> list[str]:
    """Return a line a seed, the run's own marked, and how far they lie apart."""
    seeds, window = metrics["learning"]["seeds"], metrics["window"]["name"]
    if len(seeds) == 1:
        return []
    header = ("SEED", "", "VALIDATION SHARPE", f"{window.upper()} NET", "SHARPE", "DRAWDOWN", "TRADES")
    keys = ("score", "net_profit", "sharpe", "max_drawdown")
    rows = [
        [str(one["seed"]), "*" if one["seed"] == own else "", *(fixed(one[key]) for key in keys), f"{one['trades']:,}"]
        for one in seeds
    ]
    nets = [one["net_profit"] for one in seeds]
    low, middle, high = (fixed(part(nets), 0) for part in (min, median, max))
    why = f"* this run: the median of {len(seeds)} by validation, not the best, which may be luck"
    spread = f"net of the seeds: worst {low}, median {middle}, best {high}"
    return ["", *columns(header, rows, right=(0, *range(2, len(header)))), why, spread]


def _cell(figures: Document, key: str) -> str:
    value = figures[key]
    return f"{value:,}" if key == "trades" else fixed(value)


def _day(moment: str) -> str:
    return moment[:10]
