# syntax=docker/dockerfile:1
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 \
    PATH="/venv/bin:$PATH"
WORKDIR /app

FROM base AS build
COPY pyproject.toml README.md ./
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir .
COPY src ./src

FROM base
COPY --from=build --chown=1000:1000 /venv /venv
USER 1000:1000
EXPOSE 8000/tcp
HEALTHCHECK --interval=30s CMD ["python", "-m", "tool.health"]
ENTRYPOINT ["tool"]
CMD ["serve", "--port", "8000"]
