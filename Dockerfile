# The bus with the sample services of workers/: one image for all services of docker-compose.yml.
FROM python:3.11-slim

WORKDIR /srv
COPY pyproject.toml README.md LICENSE ./
COPY eventbus eventbus
RUN pip install --no-cache-dir '.[console]'

COPY celeryconfig.py flowerconfig.py ./
COPY workers workers

# Nothing is written to disk, and a worker needs no more rights than anybody.
USER nobody
CMD ["eventbus", "--help"]
