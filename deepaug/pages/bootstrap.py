"""Make a notebook of this book run where deepaug, or what its pages need, is not installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path


def install(repository: str | None, branch: str | None) -> None:
    """Import deepaug from the checkout around this notebook, or from a clone of its repository.

    A wheel does not do, as pages read records and texts that lie beside the package. Where its
    checkout is what would be imported, nothing happens.
    """

    def run(*words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed: {' '.join(done.stderr.split())}")

    found, here = importlib.util.find_spec("deepaug"), Path.cwd()
    imported = [Path(found.origin).parents[1]] if found and found.origin else []
    clone = here / "deepaug-book"
    folders = [*imported, here, *here.parents, clone]
    beside = [folder for folder in folders if (folder / "notebooks" / "pages.yaml").exists()]
    if imported and imported == beside[:1]:
        return
    if not beside and not repository:
        sys.exit("deepaug is missing; open this notebook in a checkout of its repository")
    if not beside:
        print("Fetching deepaug")
        of = ["--branch", branch] if branch else []
        run("git", "clone", "--quiet", *of, str(repository), str(clone))
    checkout = str([*beside, clone][0])
    print("Installing deepaug and what its pages need; this takes some minutes")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--editable", f"{checkout}[pages]")
    sys.path.insert(0, checkout)  # for the kernel that runs already
    importlib.invalidate_caches()
