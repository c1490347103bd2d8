"""Run what the README shows, in an empty folder, by the environment whose Python runs this."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
text = {kind: "".join(block for name, block in blocks if name == kind) for kind, _ in blocks}
programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
environment = {**os.environ, "PATH": programs, "PYTHONUTF8": "1"}
environment.pop("PYTHONPATH", None)

with tempfile.TemporaryDirectory() as folder:
    python = [sys.executable, "-c", text["python"]]
    printed = subprocess.run(
        python, cwd=folder, env=environment, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    if printed != text["text"]:
        sys.exit(f"README: expected {text['text']!r}, got {printed!r}")
    for line in text[""].splitlines():
        program, *arguments = shlex.split(line, comments=True)
        print(line, flush=True)
        command = [shutil.which(program, path=programs) or program, *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True)
print("README: runs, and prints what it says")
