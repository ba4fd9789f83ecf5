"""A clean environment: wheels built here, installed where nothing of this source tree can be seen."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path


def call(*command, cwd, check=True, **more):
    """Run a command with nothing of this source tree on its path."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MNQ_"))}
    environ |= more
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def wheel(project, folder):
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, project, cwd=folder)


def environment(folder, *projects):
    """The python of a new environment in a folder: it sees the libraries of this one, but these projects as wheels."""
    wheels = folder / "wheels"
    wheels.mkdir()
    for project in projects:
        wheel(project, wheels)
    call(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=folder)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    call(*pip, *wheels.glob("*.whl"), cwd=folder)
    # Only now, so that pip does not take this environment's mnq for installed. The .pth files there are not read.
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    Path(site, "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
