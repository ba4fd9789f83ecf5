"""`mnq run`: stages of a strategy; a thin face of `mnqcore.run`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mnqcore.cli.context import Context

_SHORTHAND: dict[str, tuple[str, ...]] = {
    "seed": ("seed={}",),
    "data": ("data.use=file", "data.path={}"),
    "timesteps": ("agent.timesteps={}",),
    "algorithm": ("agent.use={}",),
    "feature_extractor": ("extractor.use={}",),
    "device": ("agent.device={}",),
    "walk_forward": ("split.use=walk-forward",),
    "jobs": ("executor.use=joblib", "executor.jobs={}"),
    "initial_capital": ("costs.initial_balance={}",),
    "fixed_sl_ticks": ("bracket.use=fixed", "bracket.stop_ticks={}"),
}
"""option -> the `--set` that it equals."""


def _strategy_options(command: Any) -> Any:
    """Add the options that each stand for a `--set`."""
    options = [
        click.option("--seed", type=click.IntRange(min=0), help="--set seed=N."),
        click.option("--data", metavar="FILE", help="A CSV or parquet file: --set data.use=file, data.path=FILE."),
        click.option("--timesteps", type=int, metavar="N", help="--set agent.timesteps=N."),
        click.option("--algorithm", metavar="NAME", help="PPO, A2C or any agent: --set agent.use=NAME."),
        click.option("--feature-extractor", metavar="NAME", help="lstm, gru, attention: --set extractor.use=NAME."),
        click.option("--device", metavar="NAME", help="auto, cpu or cuda: --set agent.device=NAME."),
        click.option("--walk-forward", is_flag=True, help="--set split.use=walk-forward."),
        click.option("--jobs", type=int, metavar="N", help="On N processes: --set executor.use=joblib, .jobs=N."),
        click.option("--initial-capital", type=float, metavar="X", help="--set costs.initial_balance=X."),
        click.option("--fixed-sl-ticks", type=int, metavar="N", help="--set bracket.use=fixed, bracket.stop_ticks=N."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path())
@click.option("-s", "--strategy", help="Name of the strategy; not needed when the file has one.")
@click.option(
    "--stage", default="backtest", show_default=True, metavar="STAGE", help="train, backtest, train,backtest or trade."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, e.g. bracket.stop_ticks=100."
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, metavar="K", help="Train K times; the median counts.")
@click.option("--model", metavar="RUN", help="Backtest, or trade, the models of this run.")
@click.option("--in-sample", is_flag=True, help="Backtest on the bars that the model was trained on as well.")
@click.option("--resume", metavar="RUN", help="Go on with an interrupted training.")
@click.option("--tensorboard", is_flag=True, help="Also log the training for TensorBoard.")
@click.option("--dry-run", is_flag=True, help="Check everything, measure two seconds of training, keep nothing.")
@click.option("--mode", type=click.Choice(["replay", "watch", "paper", "live"]), help="Trade: what is at stake.")
@click.option("--max-position", type=click.IntRange(min=1), metavar="N", help="Trade: a lower limit than the file's.")
@click.option("--max-daily-loss", type=float, metavar="X", help="Trade: a lower limit than the file's, dollars.")
@click.option("--use-stop-loss", is_flag=True, help="Trade: refuse a strategy whose bracket sets no stop.")
@_strategy_options
@click.pass_obj
def run(
    context: Context,
    /,
    file: str,
    strategy: str | None,
    stage: str,
    overrides: tuple[str, ...],
    seeds: int,
    model: str | None,
    in_sample: bool,
    resume: str | None,
    tensorboard: bool,
    dry_run: bool,
    **more: Any,
) -> int:
    """Run stages of a strategy of FILE and keep everything in a run directory."""
    import contextlib

    from mnqcore.cli.screen import show_run
    from mnqcore.stages.options import Options
    from mnqcore.stages.run import run as run_stages

    trading = {name: more.pop(name) for name in ("mode", "max_position", "max_daily_loss", "use_stop_loss")}
    settings = [*_as_settings(more), *overrides]
    bar = _Bar(context)
    options = Options(
        seeds=seeds, model=model, in_sample=in_sample, resume=resume, tensorboard=tensorboard, show=bar.trainings,
        **trading,
    )  # fmt: skip
    if stage.strip() == "trade":
        from mnqcore.cli.session import run_session

        return run_session(context, file, strategy, settings, options, dry=dry_run)
    if dry_run:
        _show_dry(context, file, strategy, stage, settings, options)
        return 0
    # What a plugin prints is no result: standard output is for the result alone.
    with bar, contextlib.redirect_stdout(sys.stderr):
        result = run_stages(
            file,
            strategy,
            stage,
            settings,
            plugins=context.plugins(),
            runs_dir=context.runs_dir,
            progress=bar.show,
            options=options,
        )
    show_run(context, result.run, result.metrics)
    return 0


def _show_dry(context: Context, file: str, strategy: str | None, stage: str, settings: list[str], options: Any) -> None:
    import contextlib

    from mnqcore.cli.estimate import show_estimate
    from mnqcore.stages.dry import estimate

    with contextlib.redirect_stdout(sys.stderr):
        found = estimate(file, strategy, stage, settings, plugins=context.plugins(), options=options)
    show_estimate(context, found)


def _as_settings(shorthand: dict[str, Any]) -> list[str]:
    """Return the older options as the `--set` each of them equals."""
    from mnqcore.strategy.resolved import value

    if shorthand["algorithm"]:
        shorthand["algorithm"] = shorthand["algorithm"].lower()  # it was typed PPO for years
    found = []
    for option, settings in _SHORTHAND.items():
        given = shorthand[option]
        if given is not None and given is not False:  # 0 was given, and equals False
            found += [setting.format(value(given)) for setting in settings]
    return found


class _Bar:
    """Shows each part of the work on a terminal, on one line that is wiped at the end, however that comes."""

    def __init__(self, context: Context) -> None:
        self._on = context.verbose >= 0 and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        self.trainings = "bar" if self._on else ("lines" if context.verbose >= 0 else "")
        """How a training shows how far it is."""

    def show(self, part: str) -> None:
        """Say which part of the work begins; a training says so itself."""
        from mnqcore.stages.backtest import PARTS

        if part not in PARTS:
            self._wipe()
            return
        done = PARTS.index(part)
        bar = "#" * (done * 5) + "." * ((len(PARTS) - done) * 5)
        self._write(f"\r[{bar}] {part:<12}")

    def __enter__(self) -> None:
        """Show nothing yet."""

    def __exit__(self, *_error: object) -> None:
        """Wipe the line: a result or an error comes next."""
        self._wipe()

    def _wipe(self) -> None:
        self._write("\r" + " " * 60 + "\r")

    def _write(self, text: str) -> None:
        if self._on:
            click.echo(text, nl=False, err=True)
