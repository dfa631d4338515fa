# Workers of Dataflow, Flink and Spark, and of Beam's worker pools.
#
#   docker build --tag REGISTRY/vlm-relabel .
#
# Built from public registries alone: Docker Hub's, and a Python package index. No weights are in it: they
# belong on a disk that workers share, or in an image that is made FROM this one.

# Beam's boot program, of the version of requirements.lock.
FROM apache/beam_python3.11_sdk:2.77.0 AS beam

FROM python:3.11-slim

# An index of wheels for the CPU alone makes a smaller image:
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH_INDEX=""

WORKDIR /opt/vlm-relabel
RUN python -m pip install --no-cache-dir --upgrade pip setuptools wheel
COPY requirements.lock setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY schemas ./schemas
COPY relabel ./relabel
COPY pipelines ./pipelines
COPY offline_rl ./offline_rl
COPY vlm_relabel ./vlm_relabel
RUN python -m pip install --no-cache-dir --constraint requirements.lock \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[embed,beam,gcs,hf,s3,video]"
RUN cd / && python -m pip check && vlm-relabel --version

# As Beam documents it for images that are not made from its own.
COPY --from=beam /opt/apache/beam /opt/apache/beam
WORKDIR /
ENTRYPOINT ["/opt/apache/beam/boot"]
