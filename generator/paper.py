"""Figures of Zhang, Lee & Lee (ICML 2016) that drive generation or comparison."""

MOMENTUM = 0.9
"""SGD momentum of all four steps (Section 4.1)."""

LAYERWISE_BATCH = 16
"""Images per update of the layerwise decoders, stage 2 (Section 4.1)."""

JOINT_BATCH = 64
"""Images per update of the joint finetuning, stage 4 (Section 4.1)."""

JOINT_EPOCHS = 16
"""Epochs of the joint finetuning behind Table 1's SWWAE-all (Section 4.3)."""

ILSVRC12_TRAIN_IMAGES = 1281167
ILSVRC12_VAL_IMAGES = 50000

VGG16_SHORTER_EDGE = (256, 512)
"""Pixels that the shorter edge is resized to at random in training (Section 4.3);
tests have the first (Section 4.3, "single-crop" and "convolution")."""

ALEXNET_SHORTER_EDGE = (256,)
"""Pixels of the centre square, of which AlexNet is given a crop (Section 4.3)."""

VGG16_LAYERWISE_LR = (3e-9, 1e-8, 3e-12, 1e-12, 1e-11)
"""Stage-2 learning rate of macro-layer 1 to 5, every loss weighted 1 (Table A-1)."""

VGG16_LOSS_WEIGHTS = (1e-4, 1e-12, 1e-12, 1e-12, 1e-10)
"""Weight of the loss of a_0 (the image) to a_4, in stages 3 and 4 (Table A-1).

Caffe's EuclideanLoss is 1/(2N) sum ||.||^2, half the paper's ||.||^2 averaged over
the batch; the weights are used as the paper prints them, as in the authors' release.
"""

DECODER_STD = 0.001
"""Standard deviation of the decoders' Gaussian initialisation (authors' release)."""

TABLE_1_COLUMNS = (
    ("single-crop", 1, "train"),
    ("single-crop", 1, "val"),
    ("single-crop", 5, "train"),
    ("single-crop", 5, "val"),
    ("convolution", 1, "val"),
    ("convolution", 5, "val"),
)
"""Of Table 1: test scheme, k of the top-k error, images that are classified."""

TABLE_1 = {
    "baseline": ("VGGNet", (17.43, 29.05, 4.02, 10.07, 26.97, 8.94)),
    "sae-first": ("SAE-first", (15.36, 27.70, 3.13, 9.28, 26.09, 8.30)),
    "sae-all": ("SAE-all", (15.64, 27.54, 3.23, 9.17, 26.10, 8.21)),
    "sae-layerwise": ("SAE-layerwise", (16.20, 27.60, 3.42, 9.19, 26.06, 8.17)),
    "swwae-first": ("SWWAE-first", (15.10, 27.60, 3.08, 9.23, 25.87, 8.14)),
    "swwae-all": ("SWWAE-all", (15.67, 27.39, 3.24, 9.06, 25.79, 8.13)),
    "swwae-layerwise": ("SWWAE-layerwise", (15.42, 27.53, 3.32, 9.10, 25.97, 8.20)),
}
"""Variant -> the paper's name for it, and errors in percent (Table 1): VGG-16 on
ILSVRC 2012."""

TABLE_1_TRAIN_IMAGES = 50000
"""Training images, randomly chosen, behind the columns "train" (Section 4.3)."""
