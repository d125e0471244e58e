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

VGG16_LAYERWISE_LR = (3e-9, 1e-8, 3e-12, 1e-12, 1e-11)
"""Stage-2 learning rate of macro-layer 1 to 5, every loss weighted 1 (Table A-1)."""

VGG16_LOSS_WEIGHTS = (1e-4, 1e-12, 1e-12, 1e-12, 1e-10)
"""Weight of the loss of a_0 (the image) to a_4, in stages 3 and 4 (Table A-1).

Caffe's EuclideanLoss is 1/(2N) sum ||.||^2, half the paper's ||.||^2 averaged over
the batch; the weights are used as the paper prints them, as in the authors' release.
"""

DECODER_STD = 0.001
"""Standard deviation of the decoders' Gaussian initialisation (authors' release)."""
