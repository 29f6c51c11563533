"""The wheel: installed without extras it works beside torch and numpy, and tells its types."""

import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

import environments
import pytest
from environments import call
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import deepaug

ROOT = Path(__file__).parents[1]
# Of the method, those that need no other library.
TESTS = (
    "attach", "caching", "contrastive", "dropout", "effect", "gradients", "interplay", "one_graph",
    "pca", "stream", "transforms",
)  # fmt: skip
# Runs what its second argument says, the packages of its first hidden.
HIDING = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
exec(sys.argv.pop(1))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of this checkout, built where it leaves nothing behind."""
    environments.skip_unless_built()
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    unbuilt = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "deepaug", folder / "deepaug", ignore=unbuilt)
    build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder)
    call(sys.executable, "-m", "pip", *build)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel) -> Path:
    """An interpreter that has the wheel in a folder of its own, and behind it what is here."""
    python = environments.without_deepaug(wheel.with_name("environment"))
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    call(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel)
    return python


def hidden() -> str:
    """Packages that are installed, but neither torch, numpy nor pytest needs them."""
    needed, pending = {"deepaug"}, ["torch", "numpy", "pytest"]
    while pending:
        if (name := canonicalize_name(pending.pop())) in needed:
            continue
        needed.add(name)
        try:
            stated = map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:  # of another platform
            continue
        pending += [r.name for r in stated if not r.marker or r.marker.evaluate({"extra": ""})]
    found = metadata.packages_distributions().items()
    return ",".join(name for name, of in found if not needed & {*map(canonicalize_name, of)})


def bare(python: Path, code: str, *arguments, **options) -> str:
    """What code prints beside torch and numpy alone."""
    return call(python, "-c", HIDING, hidden(), code, *arguments, cwd=python.parent, **options)


def test_what_hides_packages_hides_them(python):
    for name in ("yaml", "scipy", "torchvision", "lightning"):
        assert name in hidden().split(",")
        told = bare(python, f"try: import {name}\nexcept ImportError as error: print(error)")
        assert name in told


def test_the_wheel_holds_types_rules_profiles_and_data(python):
    told = bare(python, "import deepaug; print(deepaug.__file__, deepaug.__version__)").split()
    package = Path(told[0]).parent
    assert package.is_relative_to(python.parents[1]) and told[1] == deepaug.__version__
    for name in ("py.typed", "studies/claims.yaml", "studies/profiles/quick.yaml"):
        assert (package / name).read_bytes() == (ROOT / "deepaug" / name).read_bytes()
    here, there = (
        {path.relative_to(top).as_posix() for path in top.rglob("*") if path.suffix != ".pyc"}
        for top in (ROOT / "deepaug", package)
    )
    assert {n for n in here ^ there if "__pycache__" not in n} == set()


def test_the_two_lines_of_the_readme(python):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    before = "import torch\nmodel = torch.nn.Sequential()\n"
    before += "model.add_module('layer4', torch.nn.Linear(3, 8))\n"
    after = "model(torch.randn(16, 3)).sum().backward()\nprint(handle.calls)"
    assert bare(python, before + code + after).split() == ["1"]


@pytest.mark.slow
def test_the_methods_tests_pass_against_it(python):
    files = [ROOT / "tests" / f"test_{name}.py" for name in TESTS]
    code = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    plain = ("-q", "-p", "no:cacheprovider", "-c", "/dev/null", "-x")
    told = bare(python, code, *plain, *files, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert re.search(r"\d{2,} passed", told)


USER = '''
import torch
from torch import nn

import deepaug

model = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
handle = deepaug.attach(model, "0", deepaug.PCA(0.5))
reveal_type(handle)
reveal_type(handle.calls)
reveal_type(handle.transform)
handle.stop_gradient = True
with handle.paused() as nothing, handle.repeated():
    reveal_type(nothing)
with deepaug.attach(model, "1", deepaug.Dropout(granularity="feature"), dim=1) as second:
    reveal_type(second)
handle.seed(0)
reveal_type(handle.remove)
reveal_type(deepaug.layers(model, torch.ones(4, 3)))
found = deepaug.select_layer(model, [torch.ones(4, 3)])
reveal_type(found.layer)
reveal_type(found.scores)
reveal_type(deepaug.cka(torch.ones(4, 3), torch.ones(4, 3)))
reveal_type(deepaug.nt_xent(torch.ones(4, 3), torch.ones(4, 3)))
reveal_type(deepaug.ProjectionHead(3))
reveal_type(deepaug.PCA(mode="truncate")(torch.ones(4, 3)))
reveal_type(deepaug.PCA().basis(torch.ones(4, 3)))
reveal_type(deepaug.GaussianNoise(0.5, centred=True).p)
reveal_type(deepaug.__version__)


class Sign(deepaug.Transform):
    def transform(
        self, x: torch.Tensor, mask: torch.Tensor | None, groups: torch.Tensor | None
    ) -> torch.Tensor:
        return x.sign()


annotated: deepaug.Handle = deepaug.attach(model, "input", Sign(), groups=lambda x: x)
deepaug.attach(model, model[0], deepaug.PCA())
deepaug.attach(model, "0", 0.5)
deepaug.PCA(mode="shrink")
deepaug.Dropout(granularity="features")
deepaug.atach
'''
REVEALED = [
    "deepaug.method.attach.Handle",
    "int",
    "deepaug.method.transforms.Transform",
    "None",
    "deepaug.method.attach.Handle",
    "def ()",
    "list[str]",
    "str",
    "dict[str, float]",
    "float",
    "torch._tensor.Tensor",
    "deepaug.training.contrastive.ProjectionHead",
    "torch._tensor.Tensor",
    "tuple[torch._tensor.Tensor, torch._tensor.Tensor, torch._tensor.Tensor]",
    "float",
    "str",
]
WRONG = ["arg-type", "arg-type", "arg-type", "arg-type", "attr-defined"]


@pytest.mark.slow
def test_a_users_program_is_told_its_types(python, tmp_path):
    """As a type checker sees the installed package, strictly; the last lines are wrong."""
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program]
    command += ["--cache-dir", tmp_path / "cache", "--no-error-summary", "--config-file", ""]
    done = environments.run(*command, cwd=tmp_path)
    revealed = [t.replace("builtins.", "") for t in re.findall(r'type is "(.*?)"', done.stdout)]
    assert revealed == REVEALED, done.stdout
    assert re.findall(r"error: .*\[([a-z-]+)\]", done.stdout) == WRONG, done.stdout
    assert {*deepaug.__all__} == {*re.findall(r"deepaug\.(\w+)\b", USER)} - {"__version__", "atach"}
