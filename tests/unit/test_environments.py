"""The conda environment of a rule has what the rule's script imports."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from evenface import parts
from workflow.workflow import rule_files

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


def jobs():
    """(name, files that its job imports, environment): rules, and parts with the scripts that use them."""
    text = "".join(path.read_text() for path in rule_files(ROOT))
    for block in re.split(r"^rule ", text, flags=re.M)[1:]:
        if environment := re.search(r"conda:\n +(?:FLOW[\w.]+\()?\"(?:\.\./)+envs/(\w+)\.yaml", block):
            script = re.search(r"workflow_scripts/(\w+)\.py", block)[1]
            yield block.split(":")[0], [SCRIPTS / f"{script}.py"], environment[1]
    users = {
        parts.Generator: ("generate", "generate"),
        parts.Annotator: ("annotate", "vision"),
        parts.StandinFormat: ("assemble_standin", "generate"),
        parts.Network: ("train", "train"),
        parts.Method: ("train", "train"),
        parts.Reader: ("read_dataset", "analyse"),
        parts.Detector: ("screen", "vision"),
        parts.Writer: ("write_prompts", "diffusion"),
    }
    for kind, (script, usual) in users.items():
        for name, part in parts.parts(kind).items():
            code = module_file(part.code.partition(":")[0])
            yield f"{kind.kind} {name}", [SCRIPTS / f"{script}.py", code], part.needs_of({}).conda or usual


@pytest.mark.parametrize(("name", "files", "environment"), list(jobs()), ids=lambda value: str(value)[-20:])
def test_environment_has_what_the_job_imports(name, files, environment):
    content = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())
    pinned = {re.split(r"[=<>]", line)[0] for line in content["dependencies"][-1]["pip"]}
    needed = {module: file for path in files for module, file in third_party(path).items()}
    missing = {
        module: str(file.relative_to(ROOT))
        for module, file in needed.items()
        if BROUGHT.get(module, DISTRIBUTION.get(module, module)) not in pinned and module != "snakemake"
    }
    assert not missing, f"{name}, envs/{environment}.yaml lacks {missing}"


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
