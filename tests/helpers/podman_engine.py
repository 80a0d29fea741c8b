"""A Docker engine for the tests: podman's service, with images made of what is at hand.

No registry is asked. The image under Milvus' tag holds the genuine Milvus 2.3.5 of the package
index, with its embedded etcd and local storage; those under the tags of etcd, MinIO and Attu
are stand-ins that only answer their health checks.
"""

from __future__ import annotations

import io
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

# crun fails where cgroups are mixed; without the limits, setting them is refused in a container;
# without the delay, the watcher of every health check stays for five minutes.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
exit_command_delay = 1
[network]
network_config_dir = "{networks}"
"""

# Milvus 2.3.5 runs alone; what compose.yaml says of etcd and MinIO is for 2.6. It does not give
# its lease back when it stops, and the next one would wait for 30 s until that ends.
START_MILVUS = b"""#!/bin/sh
unset ETCD_ENDPOINTS MINIO_ADDRESS
export ETCD_USE_EMBED=true COMMON_STORAGETYPE=local DEPLOY_MODE=STANDALONE
export COMMON_SESSION_TTL=5
export LD_LIBRARY_PATH=/milvus/lib
exec /milvus/bin/milvus-server "$@"
"""
CURL = b'#!/bin/sh\nfor url in "$@"; do :; done\nexec wget -q -O - "$url"\n'
FOLDERS = {
    "etcd_data_dir": "/var/lib/milvus/etcd",
    "local_storage_dir": "/var/lib/milvus/data",
    "rocksmq_data_dir": "/var/lib/milvus/rdb_data",
    "system_log_path": "",
}
# A first process gets no signal that it does not ask for.
STAND_INS = {
    "bin/serve": b"#!/bin/sh\ntrap 'exit 0' TERM\nhttpd -f -p $1 -h /www &\nwait\n",
    "bin/etcd": b"#!/bin/sh\nexec serve 2379\n",
    "bin/etcdctl": b"#!/bin/sh\n",
    "bin/minio": b"#!/bin/sh\nexec serve 9000\n",
    "bin/node": b"#!/bin/sh\nexec wget -q -O /dev/null http://localhost:3000\n",
    "www/index.html": b"stand-in\n",
    "www/minio/health/live": b"",
}


class Engine:
    """A running engine with the images that compose.yaml names."""

    def __init__(self, url: str, client: Any) -> None:
        self.url = url
        self.client = client

    def load(self, image: str, archive: Path, *changes: str) -> None:
        """Makes an image of a tar file and gives it the name `image`."""
        said = self.client.api.import_image_from_file(str(archive), changes=list(changes))
        made = re.findall(r"sha256:[0-9a-f]{64}", said)[-1]
        repository, _, tag = image.rpartition(":")
        assert self.client.images.get(made).tag(repository, tag)

    def containers(self) -> dict[str, Any]:
        return {c.name: c for c in self.client.containers.list(all=True)}


@contextmanager
def podman_engine(folder: Path) -> Iterator[Engine]:
    """Serves an engine whose whole state is in `folder`; stops all it started at the end."""
    networks = folder / "networks"
    temporary = folder / "temporary"  # where podman forgets a copy of every image that it is sent
    for needed in (networks, temporary):
        needed.mkdir(parents=True)
    conf = folder / "containers.conf"
    conf.write_text(CONTAINERS_CONF.format(networks=networks))
    url = f"unix://{folder}/docker.sock"
    places = ["--root", folder / "root", "--runroot", folder / "run", "--storage-driver=vfs"]
    with (folder / "podman.log").open("w") as log:
        service = subprocess.Popen(
            ["podman", *map(str, places), "system", "service", "--time=0", url],
            env=os.environ | {"CONTAINERS_CONF": str(conf), "TMPDIR": str(temporary)},
            stdout=log,
            stderr=log,
        )
    try:
        client = _connect(url)
        try:
            yield Engine(url, client)
        finally:
            for container in client.containers.list(all=True):
                container.remove(force=True)
            for network in client.networks.list(filters={"label": "vidsim.project"}):
                network.remove()
            client.close()
    finally:
        service.terminate()
        service.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _connect(url: str) -> Any:
    for _ in range(150):
        try:
            client = docker.DockerClient(base_url=url, timeout=300)
            client.ping()
            return client
        except docker.errors.DockerException:
            time.sleep(0.2)
    raise AssertionError("podman's service did not answer within 30 s")


def milvus_image(folder: Path, wheel: Path) -> Path:
    """A tar file of the genuine Milvus in `wheel`, the C library of this machine, and a shell."""
    path = folder / "milvus.tar"
    with tarfile.open(path, "w") as tar, zipfile.ZipFile(wheel) as files:
        _add_shell(tar)
        for packed in (n for n in files.namelist() if n.endswith(".lzma")):
            name = Path(packed).stem
            target = "bin/milvus-server" if name == "milvus" else f"lib/{name}"
            _add(tar, f"milvus/{target}", lzma.decompress(files.read(packed)))
        for library in ("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"):
            place = f"lib/x86_64-linux-gnu/{library}"
            _add(tar, place, Path("/", place).read_bytes())
        loader = "lib64/ld-linux-x86-64.so.2"
        _add(tar, loader, Path("/", loader).read_bytes())
        _add(tar, "milvus/configs/glog.conf", files.read("milvus/data/glog.conf"))
        _add(
            tar,
            "milvus/configs/milvus.yaml",
            _settle(files.read("milvus/data/config.yaml.template")),
        )
        _add(tar, "milvus/bin/milvus", START_MILVUS)
    return path


def stand_in_image(folder: Path) -> Path:
    """A tar file of a shell and the stand-ins."""
    path = folder / "stand-in.tar"
    with tarfile.open(path, "w") as tar:
        _add_shell(tar)
        for name, content in STAND_INS.items():
            _add(tar, name, content)
    return path


def _settle(template: bytes) -> bytes:
    """The package's configuration with its defaults, from ``{{ name(type): value }}``."""

    def value(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(":")
        return FOLDERS.get(name.split("(")[0].strip(), default.strip())

    return re.sub(r"\{\{(.*?)\}\}", value, template.decode()).encode()


def _add_shell(tar: tarfile.TarFile) -> None:
    _add(tar, "bin/busybox", Path("/bin/busybox").read_bytes())
    for name in ("sh", "sleep", "wget", "httpd"):
        link = tarfile.TarInfo(f"bin/{name}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
    _add(tar, "bin/curl", CURL)
    temporary = tarfile.TarInfo("tmp")
    temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
    tar.addfile(temporary)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))
