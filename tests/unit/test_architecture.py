"""The house keeps its order: imports run one way, scripts stay thin."""

import ast
import re
from pathlib import Path

from evenface import parts
from workflow.workflow import rule_files

LIBRARY = Path(__file__).resolve().parents[2] / "workflow_scripts" / "evenface"

#: What the rooms that promise to stay small may import of ours.
ALLOWED = {
    "taxonomy": {"errors"},
    "errors": set(),
    "seeds": set(),
    "names": {"errors"},
    "parts": {"errors", "names"},
    "intervals": set(),
    "decisions": set(),
    "targets": {"errors", "taxonomy"},
    "fields": {"names", "taxonomy"},
    "prompts": {
        "prompts",
        "taxonomy",
        "errors",
        "seeds",
        "storage",
        "checkpoints",
        "joblog",
        "parts",
        "fields",
        "http",
    },
    "plan": {"plan", "prompts", "taxonomy", "storage", "errors", "seeds", "names", "parts"},
    "storage": {"storage", "errors", "names", ""},
    "networks": {"networks", "errors", "parts"},
    "fairness": {"fairness", "taxonomy", "storage", "errors", "names", "parts", "fields", "intervals", "decisions"}
    | {"targets", ""},
}

#: The rooms in the order data flows: a room imports itself and earlier ones only.
ORDER = [
    "errors", "seeds", "names", "parts", "intervals", "decisions", "http", "taxonomy", "targets", "fields", "joblog", "display", "resources",
    "cluster", "storage", "networks", "checkpoints", "prompts", "plan",
    "configuration", "assets", "generators", "standins", "datasets", "faces", "pixels", "screening", "training", "annotators",
    "directions", "fairness", "audit", "report", "text_to_face", "recipes", "__main__",
]  # fmt: skip


def imports(path):
    """(imported room, line) for every import of ours in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" if node.module == "evenface" else node.module for a in node.names]
        for name in names:
            if name.split(".")[0] in ("evenface", "snakemake"):
                yield name, node.lineno


def room(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def test_imports_run_one_way():
    known = {p.stem if p.suffix == ".py" else p.name for p in LIBRARY.iterdir()}
    wrong = []
    for path in LIBRARY.rglob("*.py"):
        for name, line in imports(path):
            here = room(path)
            if name.split(".")[0] == "snakemake":
                wrong.append(f"{path.name}:{line} imports snakemake")
                continue
            there = name.split(".")[1] if "." in name else ""
            there = there if there in known else ""
            if here in ALLOWED and there not in ALLOWED[here]:
                wrong.append(f"{path.relative_to(LIBRARY)}:{line} imports {name}")
            # Settings are declarations: of their own room or part, and no code comes with them.
            if there and ORDER.index(there) > ORDER.index(here) and not name.endswith(".settings"):
                wrong.append(f"{path.relative_to(LIBRARY)}:{line} imports the later room {there}")
            if there == "report" and here not in ("report", "text_to_face", "__main__"):
                wrong.append(f"{path.relative_to(LIBRARY)}:{line} imports the report")
    assert wrong == []


def test_scripts_are_thin_and_named_like_their_rules(root):
    text = "".join(path.read_text() for path in rule_files(root))
    rules = set(re.findall(r"^rule (\w+):", text, re.M))
    named = set(re.findall(r"workflow_scripts/(\w+)\.py", text))
    scripts = {p.stem: p.read_text() for p in (root / "workflow_scripts").glob("*.py")}
    assert set(scripts) == named
    for name, text in scripts.items():
        assert name in rules or name == "assemble_standin", name  # one rule for each format
        assert not re.search(r"snakemake\.(config|wildcards)", text), f"{name} reads what is no rerun trigger"
        assert "def " not in text and len(text.splitlines()) < 45, f"{name} is no thin script"


def test_the_readme_lists_every_rule_with_its_file_and_script(root):
    listed = {
        rule: (file, script)
        for rules, file, script in re.findall(
            r"^\| (`\w+`.*?) \| `(\S+)` \| (.+?) \|", (root / "README.md").read_text(), re.M
        )
        for rule in re.findall(r"`(\w+)`", rules)
    }
    for path in rule_files(root):
        text = path.read_text()
        for base, name in re.findall(r"^use rule (\w+) as (\w+) with:", text, re.M):
            assert listed.pop(name) == (path.name, f"`{base}.py`"), name
        for block in re.split(r"^rule ", text, flags=re.M)[1:]:
            name = block.split(":")[0]
            if "default_target: True" not in block:
                file, script = listed.pop(name)
                assert root / "rules" / file == path and script in ("of the same names", f"`{name}.py`"), name
    formats = {f"assemble_{name}_standin" for name in parts.parts(parts.StandinFormat)}
    assert listed == dict.fromkeys(formats, ("standins.smk", "`assemble_standin.py`"))


def test_the_rooms_are_described_as_they_are(root):
    """docs/architecture.md has every room in order, and what it imports beside small modules and settings."""
    text = (root / "docs/architecture.md").read_text()
    table = text[text.index("| room |") : text.index("\n\n", text.index("| room |"))]
    described = {
        row[0]: set(re.findall(r"\w+", row[1])) for row in re.findall(r"^\| `(\w+)` \| .* \|([^|]*)\|$", table, re.M)
    }
    rooms = [p.name for p in LIBRARY.iterdir() if (p / "__init__.py").exists()]
    assert [*described] == [name for name in ORDER if name in rooms or name == "taxonomy"]
    found = {name: set() for name in described}
    for path in LIBRARY.rglob("*.py"):
        if room(path) in described:
            names = [name.split(".")[1] for name, _ in imports(path) if "." in name and not name.endswith(".settings")]
            found[room(path)] |= {name for name in names if name in described} - {room(path)}
    assert found == described


def test_one_function_writes_csv_files():
    """Prompt files hold text alone, and their notes stand above the header: planning writes them itself."""
    writing = {
        path.relative_to(LIBRARY).as_posix()
        for path in LIBRARY.rglob("*.py")
        if re.search(r"\.to_csv\(|csv\.(writer|DictWriter)\(", path.read_text())
    }
    assert writing == {"storage/csv.py", "prompts/tables.py"}


def test_one_function_looks_for_near_names():
    assert [p.name for p in LIBRARY.rglob("*.py") if "difflib" in p.read_text()] == ["errors.py"]


def test_every_rule_states_its_needs(root):
    for path in rule_files(root):
        for block in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            if "default_target: True" in block:
                continue  # names files, and makes none
            for directive in ("log:", "benchmark:", "conda:", "threads:", "mem_mb=", "runtime=", "script:"):
                assert directive in block, f"{path.name}: rule {block.split(':')[0]} lacks {directive}"


#: What reads files that others made, by dotted name, and the only modules that may: the checks come before it there.
RISKY = {
    r"torch\.load": r"checkpoints/",
    r"h5py(\..*)?": r"checkpoints/keras_child\.py",
    r"(pickle|shelve|marshal|dill|cloudpickle|joblib)(\..*)?": r"",
    r"torch\.(hub|jit\.load)(\..*)?": r"",
    r"safetensors\.(safe_open|torch\.load|torch\.load_file)": r"",
}


def dotted_names(tree):
    """(name, line) of everything imported, and of every attribute chain."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Attribute):
            parts = [node.attr]
            while isinstance(node.value, ast.Attribute):
                node = node.value
                parts.append(node.attr)
            if isinstance(node.value, ast.Name):
                yield ".".join([node.value.id, *reversed(parts)]), node.lineno


def test_nothing_is_unpickled_or_loaded_unsafely():
    for path in LIBRARY.rglob("*.py"):
        here, text = path.relative_to(LIBRARY).as_posix(), path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            unsafe = r"trust_remote_code=True|allow_pickle=True|weights_only=False"
            assert not re.search(unsafe, line), f"{here}:{number}"
        for name, number in dotted_names(ast.parse(text)):
            for pattern, places in RISKY.items():
                if re.fullmatch(pattern, name):
                    assert places and re.match(places, here), f"{here}:{number} uses {name}"
                    assert name != "torch.load" or "weights_only=True" in text.splitlines()[number - 1]
