"""Connections to a server: who is let in, what is tried again, and one sentence for the rest.

A small gRPC server stands in for Milvus where the genuine one cannot be made to misbehave.
"""

from __future__ import annotations

import base64
import datetime
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import trustme
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from vidsim.ingest.milvus import connection
from vidsim.ingest.milvus import store as store_module
from vidsim.ingest.milvus.connection import open_client, server_name
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Place
from vidsim.schemas.errors import StoreError

from ...helpers.command_line import environment
from ...helpers.warm import run

SECRET = "swordfish-4711"


class Pretended(milvus_pb2_grpc.MilvusServiceServicer):
    """Answers what opening a store asks, after as many failures as it is told."""

    def __init__(self, version: str = "v2.6.5", fail: tuple[grpc.StatusCode, int] | None = None):
        self.version = version
        self.failure, self.failures = fail or (grpc.StatusCode.OK, 0)
        self.asked = 0
        self.tokens: list[str] = []

    def Connect(self, request, context):  # noqa: N802
        self.tokens += [v for k, v in context.invocation_metadata() if k == "authorization"]
        if self.failure is grpc.StatusCode.UNAUTHENTICATED:
            context.abort(self.failure, "auth check failure, please check api key is correct")
        return milvus_pb2.ConnectResponse(status=common_pb2.Status())

    def GetVersion(self, request, context):  # noqa: N802
        return milvus_pb2.GetVersionResponse(status=common_pb2.Status(), version=self.version)

    def ShowCollections(self, request, context):  # noqa: N802
        self.asked += 1
        if self.asked <= self.failures:
            context.abort(self.failure, "not now")
        return milvus_pb2.ShowCollectionsResponse(
            status=common_pb2.Status(), collection_names=["vidsim_color_labhist"]
        )


@contextmanager
def serving(
    milvus: milvus_pb2_grpc.MilvusServiceServicer, tls: grpc.ServerCredentials | None = None
) -> Iterator[int]:
    """The port at which `milvus` answers."""
    server = grpc.server(ThreadPoolExecutor(4))
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(milvus, server)
    if tls:
        port = server.add_secure_port("127.0.0.1:0", tls)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


def at(place: Place, port: int, **more) -> Place:
    scheme = "https" if "ca_cert" in more else "http"
    return replace(place, uri=f"{scheme}://127.0.0.1:{port}", **more)


def refusal(place: Place) -> str:
    """The sentence that opening `place` and asking for its backbones ends in."""
    with pytest.raises(StoreError) as caught, open_store(place) as store:
        store.backbones()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


# --- what is tried again ---


@pytest.mark.parametrize(
    "status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED], ids=str
)
def test_what_may_pass_is_tried_again(place, status):
    milvus = Pretended(fail=(status, 2))
    with serving(milvus) as port, open_store(at(place, port)) as store:
        assert [b.name for b in store.backbones()] == ["labhist"]
    assert milvus.asked == 3


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (101, "collection not loaded[collection=7]"),
        (65535, "failed to query: collection not loaded[collection=7]"),
        (65535, "attempt #0: stack trace: ...\nempty grpc client: find no available rootcoord"),
    ],
)
def test_what_a_server_says_that_has_just_started_again_is_waited_for(place, code, said):
    class Started(Pretended):
        def ShowCollections(self, request, context):  # noqa: N802
            self.asked += 1
            if self.asked < 3:
                status = common_pb2.Status(code=code, reason=said)
                return milvus_pb2.ShowCollectionsResponse(status=status)
            return super().ShowCollections(request, context)

    milvus = Started()
    with serving(milvus) as port, open_store(at(place, port)) as store:
        assert [b.name for b in store.backbones()] == ["labhist"]
    assert milvus.asked == 4  # the last time, counted twice


def test_what_will_not_pass_is_not(place):
    milvus = Pretended(fail=(grpc.StatusCode.INVALID_ARGUMENT, 9))
    with serving(milvus) as port:
        assert "Milvus could not list collections (not now); run" in refusal(at(place, port))
    assert milvus.asked == 1


def test_a_server_that_stays_away_is_given_up_after_its_patience(place, monkeypatch):
    monkeypatch.setattr(store_module, "QUERY_PATIENCE_S", 1.0)
    monkeypatch.setattr(connection, "_CALL_S", 1.0)
    milvus = Pretended(fail=(grpc.StatusCode.UNAVAILABLE, 999))
    began = time.monotonic()
    with serving(milvus) as port:
        said = refusal(at(place, port))
    assert f"Milvus at 127.0.0.1:{port} went away (not now) and could not list" in said
    assert "start it and run the same command again" in said
    assert 1 < time.monotonic() - began < 8
    assert milvus.asked > 2


def test_a_server_that_is_slow_is_not_called_away(place, monkeypatch):
    monkeypatch.setattr(store_module, "QUERY_PATIENCE_S", 0.1)
    milvus = Pretended(fail=(grpc.StatusCode.DEADLINE_EXCEEDED, 999))
    with serving(milvus) as port:
        said = refusal(at(place, port))
    assert f"Milvus at 127.0.0.1:{port} took too long to list collections; it may be" in said


def test_a_server_that_comes_back_is_met_again(place):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first = grpc.server(ThreadPoolExecutor(2))
    milvus = Pretended()
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(milvus, first)
    first.add_insecure_port(f"127.0.0.1:{port}")
    first.start()
    with open_client(at(place, port), 20.0) as opened:
        first.stop(0).wait()
        second = grpc.server(ThreadPoolExecutor(2))
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(milvus, second)
        second.add_insecure_port(f"127.0.0.1:{port}")
        with ThreadPoolExecutor(1) as pool:
            later = pool.submit(lambda: (time.sleep(2), second.start()))
            began = time.monotonic()
            names = opened.call("list collections", opened.client.list_collections)
            later.result()
        assert names == ["vidsim_color_labhist"]
        assert 1.5 < time.monotonic() - began < 12
        second.stop(0).wait()


# --- who is let in ---


def test_the_token_reaches_the_server_and_a_wrong_one_is_explained(place):
    milvus = Pretended(fail=(grpc.StatusCode.UNAUTHENTICATED, 9))
    with serving(milvus) as port:
        said = refusal(at(place, port, token=f"root:{SECRET}"))
        assert said == (
            f"Milvus at 127.0.0.1:{port} does not accept the token; set VIDSIM_TOKEN to "
            "user:password, or to an API key."
        )
    (sent,) = milvus.tokens  # once: it would be refused again
    assert base64.b64decode(sent).decode() == f"root:{SECRET}"


def test_a_password_in_the_uri_is_taken_as_the_token(place):
    milvus = Pretended()
    with serving(milvus) as port:
        secret = replace(place, uri=f"http://root:{SECRET}@127.0.0.1:{port}")
        with open_store(secret) as store:
            store.backbones()
        assert server_name(secret) == f"127.0.0.1:{port}"
    assert base64.b64decode(milvus.tokens[0]).decode() == f"root:{SECRET}"


def test_an_old_server_and_another_service_are_explained(place):
    with serving(Pretended("v2.2.16")) as port:
        said = refusal(at(place, port))
        assert f"Milvus at 127.0.0.1:{port} is version 2.2.16; vidsim needs 2.3 or later" in said
    with serving(milvus_pb2_grpc.MilvusServiceServicer()) as port:
        assert f"What answers at 127.0.0.1:{port} is no Milvus, or one older" in refusal(
            at(place, port)
        )


@pytest.mark.parametrize("uri", ["here", "milvus.db", "http://", f"root:{SECRET}@host:19530"])
def test_no_address_is_explained_without_repeating_it(place, uri):
    said = refusal(replace(place, uri=uri))
    assert "VIDSIM_URI is no address of a Milvus server; write one such as http://" in said
    assert SECRET not in said


# --- encryption ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_cert(authority, tmp_path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def credentials(
    certificate: trustme.LeafCert, clients_of: trustme.CA | None = None
) -> grpc.ServerCredentials:
    key, chain = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
    trusted = clients_of.cert_pem.bytes() if clients_of else None
    return grpc.ssl_server_credentials([(key, chain)], trusted, clients_of is not None)


def test_a_certificate_of_a_trusted_authority_is_accepted(place, authority, ca_cert):
    tls = credentials(authority.issue_cert("127.0.0.1"))
    with serving(Pretended(), tls) as port, open_store(at(place, port, ca_cert=ca_cert)) as store:
        assert [b.name for b in store.backbones()] == ["labhist"]


def test_an_expired_certificate_is_explained_at_once(place, authority, ca_cert):
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    expired = authority.issue_cert(
        "127.0.0.1", not_before=past, not_after=past + datetime.timedelta(days=1)
    )
    began = time.monotonic()
    with serving(Pretended(), credentials(expired)) as port:
        said = refusal(at(place, port, ca_cert=ca_cert))
    assert said == (
        f"The certificate of Milvus at 127.0.0.1:{port} cannot be trusted (certificate has "
        "expired); renew it, or set VIDSIM_CA_CERT to the certificate of who signed it."
    )
    assert time.monotonic() - began < connection.OPEN_PATIENCE_S


def test_a_certificate_of_somebody_else_is_explained(place, ca_cert):
    stranger = trustme.CA().issue_cert("127.0.0.1")
    with serving(Pretended(), credentials(stranger)) as port:
        assert "cannot be trusted" in refusal(at(place, port, ca_cert=ca_cert))


def test_a_client_shows_its_certificate_where_it_is_asked_for(place, authority, ca_cert, tmp_path):
    tls = credentials(authority.issue_cert("127.0.0.1"), clients_of=authority)
    mine = authority.issue_cert("me@example.org")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "me.pem")
    with serving(Pretended(), tls) as port:
        known = at(
            place,
            port,
            ca_cert=ca_cert,
            client_cert=tmp_path / "me.pem",
            client_key=tmp_path / "key.pem",
        )
        with open_store(known) as store:
            assert [b.name for b in store.backbones()] == ["labhist"]
        refusal(at(place, port, ca_cert=ca_cert))


def test_certificates_that_would_not_be_used_are_explained(place, ca_cert, tmp_path):
    plain = replace(place, uri="http://127.0.0.1:1", ca_cert=ca_cert)
    assert "VIDSIM_CA_CERT is set, but VIDSIM_URI asks for no encryption" in refusal(plain)
    gone = replace(place, uri="https://127.0.0.1:1", ca_cert=tmp_path / "gone.pem")
    assert "gone.pem cannot be read (No such file or directory)" in refusal(gone)
    half = replace(place, uri="https://127.0.0.1:1", ca_cert=ca_cert, client_cert=ca_cert)
    assert "VIDSIM_CLIENT_KEY is not set" in refusal(half)


# --- secrets ---


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", f"http://root:{SECRET}@127.0.0.1:1", "no"])
def test_no_output_holds_a_secret(place, uri):
    """Not even a traceback, nor what the libraries below log when they are asked to."""
    secrets = {"VIDSIM_URI": uri, "VIDSIM_TOKEN": f"root:{SECRET}"}
    done = run(
        "vidsim.tests.helpers.command_line:vidsim_that_logs",
        ["query", "lib/a.mp4", "--debug"],
        environment(place.home, **secrets),
    )
    assert done.returncode == 1
    assert "StoreError" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert SECRET not in repr(replace(place, token=SECRET))
