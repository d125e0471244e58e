"""The generator and the library as installable packages; they run from the checkout."""

from setuptools import find_packages, setup

setup(
    name="swwae-caffe",
    version="0.1.0",
    description="Augmented supervised networks with unsupervised objectives, in Caffe",
    python_requires=">=3.11",
    packages=[
        "generator",
        "generator.templates",
        *find_packages(include=["swwae", "swwae.*"]),
    ],
    package_dir={"generator.templates": "templates"},
    package_data={"generator.templates": ["*.j2"], "swwae.report": ["html/*"]},
    install_requires=[
        "jinja2",
        "lmdb",
        "matplotlib",
        "numpy",
        "opencv-python-headless",  # swwae.images and swwae.datasets
        "pillow",
        "protobuf",
        "safetensors",  # import_weights and export_weights
        "scikit-image",  # pycaffe imports it, and scipy with it
        "scipy",
    ],
    extras_require={
        "test": ["hypothesis", "onnx", "onnxruntime", "playwright", "pytest"],
        "onnx": ["onnx"],  # export_weights to .onnx
        "torch": ["torch==2.13.0", "torchvision==0.28.0"],  # import of .pth and .pt
    },
)
