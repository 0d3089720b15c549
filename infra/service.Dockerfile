# One image per service, all from this file: docker build -f infra/service.Dockerfile --build-arg SERVICE=services/gateway .
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
RUN pip install --no-cache-dir --disable-pip-version-check uv && uv venv /opt/lineshaft
ENV VIRTUAL_ENV=/opt/lineshaft
WORKDIR /build
COPY requirements.lock ./
COPY contracts contracts
COPY libs/common libs/common
ARG SERVICE
ARG EXTRAS=
COPY ${SERVICE} ${SERVICE}
# What the service needs and nothing else, at the versions of the lock.
RUN uv pip install --no-cache --compile-bytecode --constraint requirements.lock \
    ./contracts ./libs/common "./${SERVICE}${EXTRAS}"

FROM python:${PYTHON}-slim
# Programs that jobs run: pg_dump must be at least as new as the servers that are backed up.
ARG PACKAGES=
RUN if [ -n "$PACKAGES" ]; then apt-get update && apt-get install -y --no-install-recommends $PACKAGES \
 && rm -rf /var/lib/apt/lists/*; fi
RUN groupadd --gid 10001 lineshaft \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin lineshaft \
 && install -d -o lineshaft -g lineshaft -m 0750 /var/lib/lineshaft/objects /var/lib/lineshaft/keys /var/lib/lineshaft/backups
COPY --from=build /opt/lineshaft /opt/lineshaft
ENV PATH=/opt/lineshaft/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    HEALTH_PATH=/readyz \
    LINESHAFT_HTTP_HOST=0.0.0.0 \
    LINESHAFT_HTTP_PORT=8080 \
    LINESHAFT_OBJECT_STORE_URL=file:///var/lib/lineshaft/objects
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:8080' + os.environ['HEALTH_PATH'], timeout=2)"]
ARG MODULE
ENV MODULE=${MODULE}
CMD ["sh", "-c", "exec python -m \"$MODULE\""]
