"""ResNets of 18, 34 and 50 layers."""

from evenface.parts import IMAGENET, Network

PARTS = [
    Network(
        name=f"resnet{depth}",
        summary=f"ResNet-{depth} (He et al. 2016), as in torchvision.",
        code=f"evenface.networks.resnet.network:resnet{depth}",
        size=(224, 224),
        smallest=(32, 32),
        **IMAGENET,
    )
    for depth in (18, 34, 50)
]
