"""Fail with a list of what nobody uses: functions, methods, attributes, parameters of the product. Tests are no use.

What templates call is found by its word in them; what a library calls by its name is in ``[tool.vulture]``.
"""

import keyword
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("models", "mail", "scheduler", "webapp", "migrations/env.py", "wsgi.py")


def main() -> int:
    """Run vulture over the product and the words of its templates; return its exit code."""
    templates = ROOT.joinpath("templates").rglob("*.*")
    words = {word for path in templates for word in re.findall(r"[A-Za-z_]\w*", path.read_text())}
    used = ROOT / ".cache" / "used_in_templates.py"
    used.parent.mkdir(exist_ok=True)
    used.write_text("".join(f"_.{word}\n" for word in sorted(words) if not keyword.iskeyword(word)))
    return subprocess.run([sys.executable, "-m", "vulture", *PRODUCT, str(used)], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
