"""The licences are named wherever people look for them, and in the same words."""

import tomllib

from evenface.text_to_face.card import write_card
from evenface.text_to_face.settings import TextToFaceSettings


def test_code_and_model_have_a_licence_that_every_place_names(root):
    texts = {name: (root / name).read_text() for name in ("LICENSE", "README.md", "models/text-to-face/LICENSE")}
    assert texts["LICENSE"].startswith("MIT License\n\nCopyright (c) 2026 the evenface authors")
    assert "models/text-to-face" in texts["LICENSE"] and "CC0 1.0" in texts["LICENSE"]
    assert "CC0 1.0 Universal" in texts["models/text-to-face/LICENSE"]
    assert all(word in texts["README.md"] for word in ("MIT", "CC0 1.0", "(LICENSE)", "(models/text-to-face/LICENSE)"))
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT AND CC0-1.0" and project["authors"] == [{"name": "the evenface authors"}]
    assert all((root / name).is_file() for name in project["license-files"])


def test_the_shipped_card_has_the_licence_of_a_new_one(root):
    recipe = {"seed": 1, "renderer": 1, "settings": TextToFaceSettings.filled({}, "text_to_face")}
    new, shipped = write_card(recipe, 1), (root / "models/text-to-face/README.md").read_text()
    assert "license: cc0-1.0" in new.partition("# Text to face")[0]
    for part in (lambda text: text.partition("# Text to face")[0], lambda text: text.partition("## Licence")[2]):
        assert part(new) and part(new) == part(shipped)
