# One image for every role: `gradbook api`, `gradbook worker`, `gradbook migrate`.
# The pip lines are the Makefile's; a test runs them in a fresh virtual environment.
FROM python:3.11-slim

RUN useradd --uid 10001 --create-home gradbook && install -d -o gradbook -g gradbook /data /app

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_INPUT=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app

# First, for it is by far the largest: this layer stays while the sources change.
ARG TORCH_INDEX=""
RUN python -m pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0

COPY . .
RUN python -m pip install --no-cache-dir -e .

USER gradbook
ENV GRADBOOK_HOME=/data
EXPOSE 8000
CMD ["gradbook", "api", "--host", "0.0.0.0", "--port", "8000"]
