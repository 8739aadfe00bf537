"""Keys for S3 that a service beside the machine gives: of an instance, or of a container."""

import os
import subprocess

import pytest

from harness import files, keys, procs, program, servers
from harness.between import serving


@pytest.fixture
def service():
    """With `url`."""
    handler = type("OneService", (keys.Service,), {"asked": []})
    with serving(handler) as port:
        handler.url = f"http://127.0.0.1:{port}"
        yield handler


@pytest.fixture
def bucket(remotes):
    """The remote "base", which nobody may read."""
    handler = type("OneBucket", (keys.Bucket,), {"seen": []})
    with serving(handler) as port:
        remotes.add("base", f"s3:http://127.0.0.1:{port}/bucket/r")
        yield handler


def of_instance(service):
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url}


def of_container(service, **more):
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": service.url + "/container", "AWS_EC2_METADATA_DISABLED": "true", **more}


def list_backups(remotes, env, code=program.PERMISSION):
    return remotes.run("backup", "list", "base:", env=env, code=code).err


@pytest.mark.timeout(240)
def test_instance_publishes_and_mounts_while_its_keys_run_out(remotes, s3, service, source, area):
    env, point = of_instance(service), area + "/point"
    remotes.add("base", s3.url("some/where"))
    os.mkdir(point)
    remotes.run("backup", "init", "base:", env=env)
    service.asked.clear()
    remotes.run("backup", "list", "base:", env=env)
    assert [path for path in service.asked if path.startswith(keys.ROLES)] == [keys.ROLES, keys.ROLES + "role%20of%20the%20test"]
    service.lasts = -1
    remotes.publish("d", env=env)
    remotes.store.expected.append("backups")
    remotes.run("mount", "base:d", point, env=env)
    try:
        os.listdir(point)
        service.asked.clear()
        service.broken = True
        with pytest.raises(OSError, match="Permission denied|Input/output error"):
            files.get(point + "/holes")
        service.broken = False
        assert files.get(point + "/holes") == files.get(source + "/holes")
        assert len(service.asked) > 2
    finally:
        remotes.run("umount", point)
    for text in (remotes.store.log(), procs.command_lines("corpusfs")):
        assert "testsecret" not in text


@pytest.mark.timeout(240)
def test_container_backs_up(remotes, s3, service, area):
    env = of_container(service, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=remotes.write("authorization", keys.AUTHORIZATION + "\n"))
    remotes.add("base", s3.url("some/where"))
    remotes.run("backup", "init", "base:", env=env)
    remotes.run("backup", "d", "base:", env=env)
    done = subprocess.run(["restic", "-r", s3.url("some/where"), "check"], capture_output=True, text=True, timeout=60, check=True,
                          env={**os.environ, **servers.S3_SECRETS, "RESTIC_PASSWORD_FILE": remotes.password, "RESTIC_CACHE_DIR": area + "/cache"})
    assert "no errors were found" in done.stdout


def test_session_goes_with_each_request(remotes, bucket, service):
    service.token = "of-the-session"
    for env in (of_instance(service), of_container(service, AWS_CONTAINER_AUTHORIZATION_TOKEN=keys.AUTHORIZATION)):
        bucket.seen.clear()
        assert "AccessDenied" in list_backups(remotes, env)
        ((authorization, token),) = bucket.seen
        assert "Credential=testkey/" in authorization and "x-amz-security-token" in authorization and token == "of-the-session"


def test_service_is_asked_for_nothing_where_a_key_is_given_or_it_is_not_wanted(remotes, bucket, service):
    list_backups(remotes, {**of_instance(service), **servers.S3_SECRETS})
    list_backups(remotes, {**of_container(service), **servers.S3_SECRETS})
    assert all("testkey" in authorization for authorization, _ in bucket.seen)
    assert "AWS_ACCESS_KEY_ID" in list_backups(remotes, {**of_instance(service), "AWS_EC2_METADATA_DISABLED": "True"})
    assert service.asked == [] and bucket.seen[-1] == (None, None)


def test_instance_that_has_no_keys_asks_without(remotes, bucket, service):
    service.broken = True
    assert "AWS_ACCESS_KEY_ID" in list_backups(remotes, of_instance(service))
    assert "AWS_ACCESS_KEY_ID" in list_backups(remotes, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{servers.free_port()}"})
    assert bucket.seen == [(None, None)] * 2


def test_container_without_its_keys_is_told(remotes, bucket, service):
    told = list_backups(remotes, of_container(service, AWS_CONTAINER_AUTHORIZATION_TOKEN="Bearer wrong"))
    assert "service for containers" in told and "wrong" not in told
    away = f"http://127.0.0.1:{servers.free_port()}/container"
    assert "cannot be reached" in list_backups(remotes, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": away}, code=program.FAILED)
    for foreign in ("http://host.invalid/x", "http://localhost:x@host.invalid/x", "file:///x", "http://localhost.host.invalid/"):
        assert "beside this machine" in list_backups(remotes, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": foreign}, code=program.USAGE)
    assert "one line" in list_backups(remotes, of_container(service, AWS_CONTAINER_AUTHORIZATION_TOKEN="a\r\nb: c"), code=program.USAGE)
    assert bucket.seen == []
