# evensplit for people: the command line and reports, on files of this machine or of a store.
#
#   docker build -t evensplit .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" evensplit split big.parquet parts/ --target-size 100MB
#
# The image of Batch nodes, which is made of collected wheels, is conf/batch/Dockerfile.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE evensplit.py ./
COPY engine engine
COPY batchjobs batchjobs
COPY conf conf
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    --mount=type=bind,from=build,source=/src/conf,target=/conf \
    python -m pip install --no-cache-dir --constraint /conf/constraints.txt \
        "evensplit[report] @ file://$(echo /wheels/*.whl)" \
    && evensplit --version
# Any user may run it (--user), so that parts belong to who asks for them.
ENV HOME=/tmp
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["evensplit"]
CMD ["--help"]
