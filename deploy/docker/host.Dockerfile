# A hypervisor: the host worker with a libvirtd and QEMU of its own. It needs --privileged, and an
# init that reaps (docker run --init): under a PID 1 that does not, libvirtd hangs for minutes.
# Built by docker-compose.yml from the checkout; first: python -m build --wheel
FROM python:3.11-slim-bookworm

# What bin/setup installs for a host, without what only tests and bin/up need.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
    gcc libc6-dev pkg-config libvirt-dev \
    libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils \
    dnsmasq-base iptables iproute2 procps \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system libvirt-qemu \
 && useradd --system --gid libvirt-qemu --no-create-home --home-dir /var/lib/libvirt libvirt-qemu

COPY requirements.lock requirements-host.lock /tmp/
COPY dist/novella-*.whl /tmp/
RUN python -m venv /opt/novella \
 && /opt/novella/bin/pip install --no-cache-dir -c /tmp/requirements.lock \
    -r /tmp/requirements-host.lock /tmp/novella-*.whl \
 && rm -r /tmp/*

ENV PATH=/opt/novella/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /
VOLUME /var/lib/novella
CMD ["novella", "host", "run", "--state-dir", "/var/lib/novella", "--own-libvirtd"]
