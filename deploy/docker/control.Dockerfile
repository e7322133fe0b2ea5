# The control plane: web, scheduler, Flower and the first start. No libvirt in here.
# Built by docker-compose.yml from the checkout; first: python -m build --wheel
FROM python:3.11-slim-bookworm

RUN useradd --system --uid 8774 --user-group --home-dir /var/lib/novella --create-home novella \
 && chmod 0700 /var/lib/novella

COPY requirements.lock /tmp/requirements.lock
COPY dist/novella-*.whl /tmp/
RUN python -m venv /opt/novella \
 && /opt/novella/bin/pip install --no-cache-dir -c /tmp/requirements.lock "$(echo /tmp/novella-*.whl)[keystone]" \
 && rm -r /tmp/*

ENV PATH=/opt/novella/bin:$PATH PYTHONUNBUFFERED=1 NOVELLA_STATE_DIR=/var/lib/novella
WORKDIR /var/lib/novella
USER novella
VOLUME /var/lib/novella
EXPOSE 8774
CMD ["gunicorn", "-c", "python:app.web.gunicorn", "app.web.wsgi"]
