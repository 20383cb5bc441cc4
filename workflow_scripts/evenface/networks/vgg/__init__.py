"""VGG-16."""

from evenface.parts import IMAGENET, Network

PART = Network(
    name="vgg16",
    summary="VGG-16 (Simonyan and Zisserman 2015), as in torchvision.",
    code="evenface.networks.vgg.network:create",
    size=(224, 224),
    smallest=(32, 32),
    **IMAGENET,
)
