# The server in a container.
#
#   docker build -t sgl-lite .                                                                   CPU
#   docker build -t sgl-lite --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .    CUDA
#   docker run -p 8000:8000 -v models:/models -e SGL_LITE_API_KEY=secret sgl-lite --model Qwen/Qwen3-0.6B
#
# Options of `sgl-lite serve` follow the image's name, or are environment variables (SGL_LITE_SERVE_MODEL=...).

FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN torch="$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)" \
    && pip install --index-url "$TORCH_INDEX" "torch==$torch"
COPY grammars grammars
COPY runtime runtime
COPY sgl_lite sgl_lite
RUN pip install -c constraints.txt ".[server]"

FROM python:3.11-slim-bookworm
COPY --from=build /venv /venv
RUN useradd --create-home --uid 10001 sgl \
    && mkdir /models \
    && chown sgl /models
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/models NUMBA_CACHE_DIR=/home/sgl/numba \
    SGL_LITE_SERVE_HOST=0.0.0.0 SGL_LITE_SERVE_PORT=8000
USER sgl
WORKDIR /home/sgl
VOLUME /models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["sgl-lite", "serve"]
