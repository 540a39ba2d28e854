"""Package metadata. `pip install .` is the torch-free runtime; the extras add training, INT8 and the checks."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
TEMPLATES = "instance_segmentation.model_templates"  # lies at the top of the repository, ships inside the package


def version():
    """Read `__version__` without importing the package, whose dependencies are not there at build time."""
    text = (ROOT / "instance_segmentation" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


def readme():
    """The README, absent only from a half-copied tree."""
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


# Lower bounds are what the tests ran with; upper bounds are where the next release may break an interface we use.
BASE = [
    "contourpy>=1.3,<2",
    "msgspec>=0.19,<1",
    "numpy>=2.0,<3",
    "opencv-python-headless>=4.10",
    "openvino>=2026.4,<2027",
    "pillow>=10",
    "psutil>=5.9",
    "pycocotools>=2.0.8,<3",
    "pydantic>=2.10,<3",
    "pyyaml>=6",
    "rich>=13",
    "scipy>=1.11,<2",  # optimal assignment in tracking
]
EXTRAS = {
    # onedl-mmcv is source only: build it after torch and with --no-build-isolation, as init_venv.sh does.
    "train": [
        "torch==2.13.*",
        "onedl-mmengine==0.10.12",
        "onedl-mmcv==2.3.6",
        "onedl-mmdetection==3.5.1",
        "faster-coco-eval>=1.6,<2",
        "jinja2>=3.1,<4",
        "matplotlib>=3.9,<4",
        "shapely>=2.0,<3",
        "tensorboard>=2.18,<3",
    ],
    "int8": ["nncf>=3.4,<4"],
    "onnx": ["onnx>=1.19,<2", "onnxruntime>=1.22,<2"],
    "import": [],  # nothing any more; kept for those who install it by name
    "ovms": ["tritonclient[grpc,http]>=2.50,<3"],
    "tune": ["optuna>=5.0,<6"],
    "dev": ["build>=1.2", "import-linter>=2.1,<3", "pytest>=8.3", "pytest-timeout>=2.3", "ruff>=0.9"],
}

setup(
    name="instance-segmentation",
    version=version(),
    description="Template-driven fine-tuning of instance segmentation, from COCO to a validated OpenVINO IR",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[*find_packages(include=["instance_segmentation", "instance_segmentation.*"]), TEMPLATES],
    package_dir={TEMPLATES: "model_templates"},
    package_data={
        TEMPLATES: ["*.yaml", "**/*.yaml", "**/*.py", "**/*.md"],
        "instance_segmentation.templates": ["scaffold/*"],  # these two are copied out, not imported
        "instance_segmentation.scripting": ["scripts/*"],
        "instance_segmentation.records.pages": ["*.html", "*.md"],
    },
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["instseg = instance_segmentation.cli.main:main"]},
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
