"""A clean environment: it sees the libraries of this one, but mnq and plugin packages only as wheels built here."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]


def call(*command, cwd, check=True, **more):
    """Run a command with nothing of this source tree on its path."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MNQ_"))} | more
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def mnq(python, *arguments, check=True):
    """Run the command `mnq` of an environment."""
    return call(python.with_name("mnq"), *arguments, cwd=python.parent, check=check)


def wheel(project, folder):
    """Build a project's wheel into a folder."""
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, project, cwd=folder)


def environment(folder, projects, libraries=()):
    """Make an environment with mnq and projects as wheels; return its python.

    `libraries`: modules that it sees even where they lie beside this environment's other packages.
    """
    wheels = folder / "wheels"
    wheels.mkdir()
    for project in (ROOT, *projects):
        wheel(project, wheels)
    call(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=folder)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    call(*pip, *wheels.glob("*.whl"), cwd=folder)
    # Only now, so that pip does not take this environment's mnq for installed. The .pth files there are not read.
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    seen = [sysconfig.get_path("purelib"), *filter(None, map(_home, libraries))]
    Path(site, "parent.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys(seen)))
    return python


def has(library):
    """Whether a module is installed in this environment."""
    return importlib.util.find_spec(library) is not None


def _home(library):
    """Return the folder that holds a module, None where it is not installed."""
    spec = importlib.util.find_spec(library)
    return None if spec is None or spec.origin is None else str(Path(spec.origin).parents[1])
