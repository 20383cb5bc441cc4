"""GoogLeNet."""

from evenface.parts import Network

PART = Network(
    name="googlenet",
    summary="GoogLeNet (Szegedy et al. 2015) with batch norm and without auxiliary classifiers, as in torchvision.",
    code="evenface.networks.googlenet.network:create",
    size=(224, 224),
    smallest=(32, 32),
    # Its ImageNet weights take [-1, 1]. torchvision normalises as for its other networks, and then back (transform_input).
    mean=(0.5, 0.5, 0.5),
    deviation=(0.5, 0.5, 0.5),
)
