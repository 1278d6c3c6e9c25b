"""Rebuild static/img/icons.svg: one small file with the icons that we use, out of the package @tabler/icons.

    npm pack @tabler/icons && tar xzf tabler-icons-*.tgz
    python scripts/make_icons.py package/icons/outline

The names stand in static/vendor/tabler-icons/names.txt, one a line; add one there and run this again.
"""

import re
import sys
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "static"


def symbol(name: str, drawing: str) -> str:
    """Return one drawing as a symbol that ``<use href="icons.svg#name">`` shows in the colour of the text around it."""
    paths = re.findall(r"<(?:path|circle|rect|line|polyline|ellipse)\b[^>]*/>", drawing)
    shapes = "".join(" ".join(path.split()) for path in paths if 'stroke="none"' not in path)
    return f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>'


def main(drawings: Path) -> None:
    """Write the sprite; a name without a drawing fails."""
    names = (STATIC / "vendor/tabler-icons/names.txt").read_text().split()
    symbols = [symbol(name, (drawings / f"{name}.svg").read_text()) for name in sorted(names)]
    sprite = '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"
    (STATIC / "img/icons.svg").write_text(sprite)
    print(f"{len(symbols)} icons, {len(sprite)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
