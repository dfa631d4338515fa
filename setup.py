"""Packaging; Beam's `--setup_file ./setup.py` ships the same packages to a cluster's workers.

Beam makes a source distribution where a job is submitted, and workers install it without extras.
So the extras that they need are named by the environment variable VLM_RELABEL_EXTRAS, such as
`embed,beam`, when it is made; the distribution carries their names, and asks for their libraries.
"""

import os
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

PACKAGES = ["schemas", "relabel", "pipelines", "offline_rl", "vlm_relabel"]
BASE = [  # reads stores, scores stored embeddings, builds datasets
    *("fsspec>=2024.2", "pyarrow>=17", "numpy>=1.26", "pydantic>=2.7", "google-crc32c>=1.5"),
    *("PyYAML>=6", "ftfy>=6.1", "threadpoolctl>=3.2", "packaging>=23", "rich>=14.1", "typer>=0.12"),
    "psutil>=5.9",  # tells whose a lease is, and ends worker processes on Ctrl-C
]
# Reads sources, and embeds frames and texts.
EMBED = [
    *("torch>=2.6", "torchvision>=0.21", "open_clip_torch>=3.0,<4", "safetensors>=0.4"),
    *("tensorflow-datasets>=4.9.4", "array_record>=0.5", "etils[epath]>=1.7", "pillow>=10"),
]
BEAM = [
    "apache-beam>=2.76",  # earlier ones leak memory when elements raise
    "grpcio>=1.60",  # of a lost connection to a worker
]
DASK = [*BEAM, "dask[distributed]>=2024.4.2", "distributed>=2024.4.2"]  # as Beam's runner asks
AGENTS = [
    *("d3rlpy>=2.8,<3", "gymnasium>=1.0,<2", "scipy>=1.11", "torch>=2.6", "safetensors>=0.4"),
    "pillow>=10",  # writes GIFs of rollouts
    *("structlog>=23", "gym-notices>=0.0.8"),  # of d3rlpy; they are told to be quiet
]
# Calibration, comparison, audit, labelling and the report page.
EVALUATION = ["scikit-learn>=1.4", "scipy>=1.11", "matplotlib>=3.8", "jinja2>=3.1", "pillow>=10"]
RERUN = ["rerun-sdk>=0.20"]  # of `report --rerun`
HUGGING_FACE = ["transformers>=5,<6", "sentencepiece>=0.2"]  # tokenizers of SigLIP and others
TENSORBOARD = ["tensorboardX>=2.6"]  # of `train --logger tensorboard`
GCS, S3 = ["gcsfs>=2024.2"], ["s3fs>=2024.10"]  # of stores and sources at gs:// and s3://
VIDEO = ["av>=12"]  # decodes cameras that are a video file per episode
ALL = [*EMBED, *BEAM, *AGENTS, *EVALUATION, *RERUN]
ALL += [*DASK, *GCS, *S3, *HUGGING_FACE, *TENSORBOARD, *VIDEO]
DEMO = [*EMBED, *BEAM, *AGENTS, "minigrid>=3.0,<4", "tensorflow-cpu>=2.16", "rlds>=0.1.4,<0.1.7"]
DEMO += EVALUATION
TEST = [
    *("pytest>=8", "pytest-xdist>=3", "hypothesis>=6", "duckdb>=1", "pandas>=2"),
    "moto[server]>=5",  # an S3 endpoint
    "playwright>=1.50",  # drives the system's Chromium through the pages
    # Fuzzes parsers; it has wheels for these alone.
    "atheris>=3; sys_platform == 'linux' and platform_machine == 'x86_64'",
    *("polars>=1", "datasets>=3"),  # that read a table's folder
    *("ruff>=0.9", "mypy>=1.14", "types-PyYAML", "types-psutil", "pandas-stubs"),
]

EXTRAS = {
    "embed": EMBED,
    "evaluation": EVALUATION,
    "beam": BEAM,
    "agents": AGENTS,
    "dask": DASK,
    "gcs": GCS,
    "hf": HUGGING_FACE,
    "rerun": RERUN,
    "s3": S3,
    "tensorboard": TENSORBOARD,
    "video": VIDEO,
    "all": ALL,
    "demo": DEMO,
    "test": [*ALL, *DEMO, *TEST],
}

CARRIED = "worker_extras.txt"  # only in a source distribution that was made with the variable


def worker_extras() -> list[str]:
    """Extras whose libraries are installed with the base."""
    carried = Path(__file__).parent / CARRIED
    text = os.environ.get("VLM_RELABEL_EXTRAS", "")
    if carried.exists():
        text = carried.read_text(encoding="utf-8")
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := sorted({*names} - {*EXTRAS}):
        raise SystemExit(
            f"VLM_RELABEL_EXTRAS: no extra {', '.join(unknown)}; there are {', '.join(EXTRAS)}"
        )
    return names


class CarryingSdist(sdist):
    """A source distribution that remembers the extras it was made for."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Adds their names."""
        super().make_release_tree(base_dir, files)
        if names := worker_extras():
            (Path(base_dir) / CARRIED).write_text(",".join(names), encoding="utf-8")


setup(
    name="vlm-relabel",
    version="0.1.0",
    description="Rewards for any goal in words, on stored trajectories",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="reinforcement-learning reward vision-language-model clip rlds offline-rl robotics",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=[*PACKAGES, *(f"{name}.*" for name in PACKAGES)]),
    package_data={
        **{name: ["py.typed"] for name in PACKAGES},
        "vlm_relabel.labelling": ["*.html", "*.css", "*.js"],
        "vlm_relabel.pages": ["assets/*"],  # of the report; uPlot with its licence
    },
    install_requires=list(
        dict.fromkeys([*BASE, *(text for name in worker_extras() for text in EXTRAS[name])])
    ),
    extras_require=EXTRAS,
    cmdclass={"sdist": CarryingSdist},
    entry_points={"console_scripts": ["vlm-relabel=vlm_relabel.cli.entry:main"]},
)
