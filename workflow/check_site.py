"""Exit non-zero, with one line per fault, unless the built site holds what a reader comes for.

A build that exits 0 is no proof: a wrong version of Jupyter Book builds no pages and says nothing.
Run from the repository's root.
"""

import json
import re
import sys
from pathlib import Path

import yaml
from bs4 import BeautifulSoup

SITE = Path("_build/html")
TABLES = ("book/notebooks/networks",)  # a page of tables alone; others show a figure
# Meant for a live front end: a page shows them as noise.
NOISE = {"application/json", "application/vnd.jupyter.widget-view+json"}


def toc_files(node):
    """Every page named in a table of contents, whatever its nesting."""
    if isinstance(node, list):
        return [name for item in node for name in toc_files(item)]
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for value in node.values() for name in toc_files(value)]
    return []


def figures(page):
    """Alt texts of the images in a page's own text, None where there is none."""
    html = BeautifulSoup((SITE / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    return [image.get("alt") for image in html.select("article img")]


def describes(alt):
    """Sphinx puts the file's name where an alt text is missing."""
    return bool(alt and alt.strip()) and not re.search(r"\.(png|jpe?g|svg|gif|webp)$", alt.strip())


def notebook_faults(path):
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], start=1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                yield f"{path}: cell {number} raised {output['ename']}: {output['evalue']}"
            for kind in sorted(NOISE & output.get("data", {}).keys()):
                yield f"{path}: cell {number} left an output of type {kind}"


def main():
    pages = toc_files(yaml.safe_load(Path("_toc.yml").read_text(encoding="utf-8")))
    notebooks = [page for page in pages if Path(f"{page}.ipynb").exists()]
    faults = [
        f"{page}: no page was built" for page in pages if not (SITE / f"{page}.html").exists()
    ]
    if not (SITE / "index.html").exists():
        faults.append("index.html: no front page was built")
    shown = 0
    for page in pages if not faults else []:
        alts = figures(page)
        shown += len(alts)
        faults += [
            f"{page}: a figure has no alt text ({alt})" for alt in alts if not describes(alt)
        ]
        if page in notebooks:
            if not alts and page not in TABLES:
                faults.append(f"{page}: the notebook shows no figure")
            faults += notebook_faults(Path(f"{page}.ipynb"))
    if faults:
        sys.exit("\n".join(f"check_site: {fault}" for fault in faults))
    print(f"{SITE}: {len(pages)} pages, {len(notebooks)} notebooks, {shown} figures with alt text")


if __name__ == "__main__":
    main()
