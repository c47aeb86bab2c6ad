"""Stanford CS231n's assignment *Network Visualization*: the course's functions, by its names, in its units.

    from pixelgrad.cs231n import *                     in place of cs231n.net_visualization_pytorch: PyTorch, 2017 on
    from pixelgrad.cs231n.numpy_edition import *       the edition before: numpy, with `PretrainedCNN`

Both have functions of the same names. With these lines the notebooks run as they are. The PyTorch edition takes any
torch module of pictures (N, 3, H, W) in ImageNet's normalisation; of a pixelgrad classifier that is its `.module`. The
numpy edition takes a `PretrainedCNN`, which is made from any classifier, and arrays (N, 3, H, W) from 0 to 255 less the
mean image.

A model is always looked at in evaluation mode, without dropout and with the statistics that batch norm has learned, and
given back as it was: one in training mode stays in training mode, so that what the notebook itself asks it, `model(X)`,
is still answered in training mode.
"""

from .pictures import (
    SQUEEZENET_MEAN,
    SQUEEZENET_STD,
    blur_image,
    deprocess,
    jitter,
    load_imagenet_val,
    preprocess,
    rescale,
)
from .pytorch_edition import (
    class_visualization_update_step,
    compute_saliency_maps,
    create_class_visualization,
    make_fooling_image,
    show_saliency_maps,
)

__all__ = [
    "SQUEEZENET_MEAN",
    "SQUEEZENET_STD",
    "blur_image",
    "class_visualization_update_step",
    "compute_saliency_maps",
    "create_class_visualization",
    "deprocess",
    "jitter",
    "load_imagenet_val",
    "make_fooling_image",
    "preprocess",
    "rescale",
    "show_saliency_maps",
]
