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
        # fork/build.sh --cuda: CUDA 12's libraries, whose wheels have no nvcc, or all
        # of CUDA 13
        "cuda12": [
            "nvidia-cublas-cu12",
            "nvidia-cudnn-cu12",
            "nvidia-curand-cu12",
            "nvidia-nccl-cu12",
        ],
        "cuda13": [
            "nvidia-cublas>=13,<14",
            "nvidia-cuda-cccl>=13,<14",
            "nvidia-cuda-nvcc>=13,<14",
            "nvidia-cuda-runtime>=13,<14",
            "nvidia-cudnn-cu13",
            "nvidia-curand",
            "nvidia-nccl-cu13",
            "nvidia-nvvm>=13,<14",
        ],
        "onnx": ["onnx"],  # export_weights to .onnx
        "torch": ["torch==2.13.0", "torchvision==0.28.0"],  # import of .pth and .pt
    },
)
