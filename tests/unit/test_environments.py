"""The conda environment of a rule has what the rule's script imports."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow_scripts"

#: Import name -> distribution, where they differ.
DISTRIBUTION = {
    "cv2": "opencv-python",
    "dlib": "dlib-bin",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
}
#: Come with others of the list: markupsafe with jinja2.
BROUGHT = {"markupsafe": "jinja2"}


def module_file(name: str) -> Path | None:
    path = SCRIPTS.joinpath(*name.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names imported when a file is: not those inside functions or for type checking."""
    names = set()
    skipped = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if lazy or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            skipped |= {id(inner) for part in node.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def third_party(path: Path) -> dict[str, Path]:
    """Top-level packages that a script and what it imports of ours need, each with a file that names it."""
    found, seen, todo = {}, set(), [path]
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        for name in imports_of(file):
            top = name.split(".")[0]
            if top == "evenface":
                parts = name.split(".")
                ours = (module_file(".".join(parts[:end])) for end in range(1, len(parts) + 1))
                todo.extend(file for file in ours if file)
            else:
                found.setdefault(top, file)
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names}


def rules():
    text = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    for block in re.split(r"^rule ", text, flags=re.M)[1:]:
        script = re.search(r"workflow_scripts/(\w+)\.py", block)
        environment = re.search(r"envs/(\w+)\.yaml", block)
        yield block.split(":")[0], script[1], environment[1]


@pytest.mark.parametrize(("rule", "script", "environment"), list(rules()))
def test_environment_has_what_the_script_imports(rule, script, environment):
    content = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())
    pinned = {re.split(r"[=<>]", line)[0] for line in content["dependencies"][-1]["pip"]}
    needed = third_party(SCRIPTS / f"{script}.py")
    missing = {
        name: str(file.relative_to(ROOT))
        for name, file in needed.items()
        if BROUGHT.get(name, DISTRIBUTION.get(name, name)) not in pinned and name != "snakemake"
    }
    assert not missing, f"rule {rule}, envs/{environment}.yaml lacks {missing}"


def test_environments_pin_what_requirements_pin():
    required = dict(
        line.split("#")[0].strip().split("==")
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    for path in sorted((ROOT / "envs").glob("*.yaml")):
        for line in yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]:
            name, _, version = line.partition("==")
            assert required.get(name) == version, f"{path.name}: {line}, requirements.txt has {required.get(name)}"
