# syntax=docker/dockerfile:1
# docker build -t mumic . && docker run --rm -p 8000:8000 --read-only mumic
# With a GPU: docker run --gpus all ...; another checkpoint: -v /my/checkpoint:/weights/mumic-demo:ro
# With traces: docker build --build-arg INSTALL='.[heif,traces]' ...

FROM python:3.11-slim AS build
ARG INSTALL=.[heif]
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mumic
WORKDIR /src
# What changes seldom first: the libraries are one layer that survives a change of our code.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir app mumic && touch app/__init__.py mumic/__init__.py \
    && /opt/mumic/bin/pip install -c constraints.txt "$INSTALL" \
    && /opt/mumic/bin/pip uninstall -y mumic
COPY app app
COPY mumic mumic
RUN /opt/mumic/bin/pip install --no-deps .

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin mumic
COPY --from=build /opt/mumic /opt/mumic
COPY weights /weights
ENV PATH=/opt/mumic/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    TMPDIR=/dev/shm \
    MUMIC_HOST=0.0.0.0 \
    MUMIC_CHECKPOINT=/weights/mumic-demo
# torch wants a temporary directory at import; /dev/shm is there when the root is read-only.
USER 10001
EXPOSE 8000
# Without proxies: Docker passes those of its configuration to every container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ.get('MUMIC_PORT', '8000')}/readyz\", timeout=2)"]
ENTRYPOINT ["mumic"]
CMD ["serve"]
