"""Where each published network keeps its tensors in the file that its authors distribute.

Sources: the specifications in the authors' loaders and trainers (IrvingMeng/MagFace
``inference/network_inf.py`` and trainers, dchen236/FairFace ``predict.py``, gtamba/pytorch-slim-cnn
``slimnet.py``, Kartik-3004/facexformer ``inference.py``, FacePerceiver/facer, serengil/deepface,
timesler/facenet-pytorch).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenface.checkpoints.stored import Malformed, StoredTensor


@dataclass(frozen=True)
class Layout:
    """Where the tensors of a family of networks are, and what else a file may hold.

    ``under``: keys of the outer dictionary; the first one present is taken. An empty string means that the
    file itself is the dictionary of tensors. ``prefixes``: possible prefixes of the network's own tensor
    names; a file uses one for all. ``ignored``: pattern of whole tensor names that may be present and are not
    read. ``spare_bytes``: room for ignored tensors, beyond :func:`size_limit`. ``keras``: the weights also
    exist as Keras files. ``own_names`` and ``foreign_names``: patterns in the names of files of this network, and of
    others that have the same tensors with another meaning. ``renamed``: pattern of a tensor's name in the file -> the
    network's name for it. ``kin``: a clause that says what these are, and what happens
    if the file is one. ``channels``: the order of colours that the network was trained with.
    """

    under: tuple[str, ...] = ("",)
    prefixes: tuple[str, ...] = ("",)
    ignored: str | None = None
    spare_bytes: int = 0
    renamed: tuple[tuple[str, str], ...] = ()
    keras: bool = False
    own_names: str | None = None
    foreign_names: str | None = None
    kin: str = (
        "a copy trained for other classes, on other data or for another order of the colours has the same tensors"
    )
    channels: str = "RGB"

    def tensors(self, content: Any) -> dict[str, Any]:
        """The dictionary of tensors in a file's ``content``. Raises Malformed when it is not there."""
        if not isinstance(content, Mapping):
            raise Malformed(f"expected a dictionary, found {_kind(content)}")
        if content and all(isinstance(value, StoredTensor) for value in content.values()):
            return dict(content)  # a dictionary of tensors, as converted files are, needs no wrapping
        for key in self.under:
            inner = content.get(key) if key else content
            if isinstance(inner, Mapping):
                return dict(inner)
        wanted = " or ".join(repr(key) for key in self.under if key) or "tensors"
        held = ", ".join(ascii(str(key)[:40]) for key in list(content)[:5])
        raise Malformed(f"key {wanted} is missing; the published file is a dictionary with it, this one has {held}")

    def named(self, tensors: Mapping[Any, Any], expected: Mapping[str, Any]) -> dict[str, StoredTensor]:
        """The tensors under the network's own names, without ignored ones.

        ``expected`` are the network's names. Raises Malformed for an entry that is not a tensor, for an
        unknown prefix, and for several prefixes in one file.
        """
        kept: dict[str, StoredTensor] = {}
        # In a converted file, which holds the network alone, a name like an ignored one is the network's own.
        ignored = None if set(tensors) == set(expected) else self.ignored
        for name, tensor in tensors.items():
            if type(name) is not str or not isinstance(tensor, StoredTensor):
                raise Malformed(f"entry {ascii(name)[:80]} is not a tensor but {_kind(tensor)}")
            if ignored is None or not re.fullmatch(ignored, name):
                kept[self._renamed(name)] = tensor
        if set(kept) == set(expected):
            return kept
        found: dict[str, str] = {}
        for name in kept:
            prefix = max((p for p in self.prefixes if name.startswith(p)), key=len, default=None)
            if prefix is None:
                known = ", ".join(repr(p) for p in self.prefixes)
                raise Malformed(f"tensor {name!r} begins with none of the known prefixes ({known})")
            found.setdefault(prefix, name)
        if len(found) > 1:
            (one, first), (other, second) = list(found.items())[:2]
            raise Malformed(
                f"tensors carry different prefixes: {first!r} begins with {one!r}, {second!r} with {other!r}; "
                "the file was put together from several"
            )
        cut = len(next(iter(found), ""))
        return {name[cut:]: tensor for name, tensor in kept.items()}

    def _renamed(self, name: str) -> str:
        return next((re.sub(old, new, name) for old, new in self.renamed if re.fullmatch(old, name)), name)


def _kind(value: Any) -> str:
    return {"dict": "a dictionary", "Inert": "another object"}.get(type(value).__name__, type(value).__name__)


_MAGFACE = Layout(
    under=("state_dict",),
    prefixes=("features.module.", "module.features.", "features."),
    # The class layer of the trainers, which only training needs: up to 85744 classes of 512 numbers, with momentum.
    ignored=r"(module\.)?(parallel_)?fc\.weight|parallel_fc\.module\.weight",
    spare_bytes=512 << 20,
    # The same networks trained for recognition alone, and the sets that InsightFace names its files after.
    own_names=r"magface|mag[-_]?cosface",
    foreign_names=r"(arc|ada|cos|sphere|curricular|elastic)face|partial_?fc|glint360k|ms1mv3|web_?face\d+m|insight",
    kin="ArcFace and other networks that were trained for recognition alone have the same tensors; if this is one, the "
    "length of its embeddings says nothing of quality",
    channels="BGR",
)
#: What names of files say about DeepFace's models.
_DEEPFACE_NAMES = {
    "gender": r"gender|\bsex",
    "age": r"(?<![a-z])age(?![a-z])",
    "race": r"race|ethnic",
    "emotion": r"emotion|expression",
}
_SLIM = Layout(under=("model_state_dict",))
#: DeiT's files (facebookresearch/deit ``models.py``), whose names are timm's; the network's are torchvision's.
_VIT = Layout(
    under=("model", ""),
    renamed=(
        (r"cls_token", "class_token"),
        (r"pos_embed", "encoder.pos_embedding"),
        (r"patch_embed\.proj\.(weight|bias)", r"conv_proj.\1"),
        (r"blocks\.(\d+)\.norm([12])\.(weight|bias)", r"encoder.layers.encoder_layer_\1.ln_\2.\3"),
        (r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", r"encoder.layers.encoder_layer_\1.self_attention.in_proj_\2"),
        (r"blocks\.(\d+)\.attn\.proj\.(weight|bias)", r"encoder.layers.encoder_layer_\1.self_attention.out_proj.\2"),
        (r"blocks\.(\d+)\.mlp\.fc1\.(weight|bias)", r"encoder.layers.encoder_layer_\1.mlp.0.\2"),
        (r"blocks\.(\d+)\.mlp\.fc2\.(weight|bias)", r"encoder.layers.encoder_layer_\1.mlp.3.\2"),
        (r"norm\.(weight|bias)", r"encoder.ln.\1"),
        (r"head\.(weight|bias)", r"heads.head.\1"),
    ),
)
_BARE = Layout()
_DEEPFACE = {
    head: Layout(
        keras=True,
        own_names=own,
        foreign_names=r"vgg_?face|" + "|".join(other for name, other in _DEEPFACE_NAMES.items() if name != head),
        kin=f"any network of this kind with as many classes has the same tensors; if this is another one than DeepFace's "
        f"{head} model, or was trained with another order of the colours, its answers mean something else",
        channels="BGR",
    )
    for head, own in _DEEPFACE_NAMES.items()
}
# Both have 18 outputs (dchen236/FairFace issue 19); the names are those of its predict.py.
_SEVEN_RACES, _FOUR_RACES = r"multi_7|7_?race|alldata_20|fairface[-_]7", r"multi_4|4_?race|fairface[-_]4"

#: Published name -> layout of its file.
LAYOUTS: dict[str, Layout] = {
    **dict.fromkeys(("magface-iresnet18", "magface-iresnet34", "magface-iresnet50", "magface-iresnet100"), _MAGFACE),
    "fairface-7": Layout(
        own_names=_SEVEN_RACES,
        foreign_names=_FOUR_RACES,
        kin="FairFace's network of four races has the same tensors; if this is it, Asian faces are called Latino_Hispanic",
    ),
    "fairface-4": Layout(
        own_names=_FOUR_RACES,
        foreign_names=_SEVEN_RACES,
        kin="FairFace's network of seven races has the same tensors; if this is it, Latino_Hispanic faces are called Asian",
    ),
    "slim-cnn": _SLIM,
    "facexformer": Layout(under=("state_dict_backbone",)),
    "farl-celeba": Layout(own_names="celeba", foreign_names=r"lfwa|maad"),
    "retinaface-mobilenet": Layout(under=("state_dict", ""), prefixes=("module.", "")),
    **{f"deepface-{head}": layout for head, layout in _DEEPFACE.items()},
    **dict.fromkeys(("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet"), _BARE),
}

#: Trainable classifier -> layout of the published files that its training may start from.
INITIAL: dict[str, Layout] = {
    "slim_cnn": _SLIM,
    "googlenet": Layout(ignored=r"aux[12]\..*"),  # auxiliary classifiers
    "vit_small": _VIT,
}


def siblings(name: str) -> list[str]:
    """The other published names of the same system; users may mix up their files."""
    system = name.partition("-")[0]
    return [other for other in LAYOUTS if other != name and other.partition("-")[0] == system]
