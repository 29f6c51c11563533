"""What every page says of its origin: revision, date and licence below, its source to download.

A Sphinx extension of this book; `_config.yml` names it.
"""

import shutil
import subprocess
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "notebooks"
RULES = "deepaug/studies/claims.yaml"
UNKNOWN = "unknown"  # outside a checkout of git


def git(*words: str) -> str:
    """What git prints in one line; "unknown" without git or outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return done.stdout.strip() or UNKNOWN


def link(config, what: str, revision: str) -> str:
    """A commit, or a file at a commit, linked where the repository's address is known."""
    options = config.html_theme_options
    # Jupyter Book names its own repository where a book names none; the button is off then.
    repository = options.get("repository_url", "").rstrip("/")
    if not options.get("use_repository_button") or revision == UNKNOWN:
        return revision
    place = "commit" if not what else "blob"
    return f'<a href="{repository}/{place}/{revision}{what and "/" + what}">{revision}</a>'


def origin() -> dict[str, str]:
    """Revision and date of the book and of the rules."""
    return {
        "revision": git("log", "-1", "--format=%h"),
        "date": git("log", "-1", "--format=%as"),
        "rules_revision": git("log", "-1", "--format=%h", "--", RULES),
        "rules_date": git("log", "-1", "--format=%as", "--", RULES),
    }


def configure(app, config) -> None:
    found = origin()
    config.myst_substitutions = {
        **config.myst_substitutions,
        **found,
        "revision_link": link(config, "", found["revision"]),
        "rules_link": link(config, RULES, found["rules_revision"]),
    }
    config.html_theme_options["extra_footer"] = (
        f"<p>Revision {link(config, '', found['revision'])} of {found['date']}; verdict rules of "
        f"{link(config, RULES, found['rules_revision'])} ({found['rules_date']}). "
        f"MIT licence.</p>"
    )
    config.ogp_site_url = config.html_baseurl or ""


def offer_script(app, pagename, templatename, context, doctree) -> None:
    """Beside a notebook's .ipynb its source as a script, among the page's downloads."""
    name = Path(pagename).name
    if pagename.startswith("book/notebooks/") and (SCRIPTS / f"{name}.py").exists():
        url = context["pathto"](f"_sources/{pagename}.py", 1)
        for group in context.get("header_buttons", []):
            if group.get("label") == "download-buttons":
                group["buttons"].insert(
                    1,
                    {
                        "type": "link",
                        "url": url,
                        "text": ".py",
                        "icon": "fas fa-file-code",
                        "label": "download-script-button",
                        "tooltip": "Download the notebook as a script",
                    },
                )


def copy_scripts(app, error) -> None:
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir) / "_sources" / "book" / "notebooks"
        folder.mkdir(parents=True, exist_ok=True)
        for script in SCRIPTS.glob("*.py"):
            shutil.copy(script, folder)


def inline_math(translator, node) -> None:
    translator.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def block_math(translator, node) -> None:
    """An equation on a line of its own, which scrolls by itself where it is wider than the page."""
    anchors = "".join(f' id="{name}"' for name in node["ids"][:1])
    equation = convert(node.astext(), display="block")
    translator.body.append(f'<div class="equation" tabindex="0"{anchors}>{equation}</div>')
    raise nodes.SkipNode


def setup(app):
    # MathML needs no script, and none from another machine.
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("config-inited", configure)
    app.connect("html-page-context", offer_script, priority=502)  # after the theme's buttons
    app.connect("build-finished", copy_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
