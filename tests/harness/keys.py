"""The services of Amazon's machines that give keys for S3, and a bucket that only notes who asks, on loopback."""

import http.server
import json
import time

from harness.servers import S3_SECRETS

SESSION, ROLE, AUTHORIZATION = "session-of-the-test", "role of the test", "Bearer of-the-test"
ROLES = "/latest/meta-data/iam/security-credentials/"


class Quiet(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Service(Quiet):
    """Both services. Make a class of your own of it: what is set is the class's."""

    asked: list
    lasts, token, broken = 3600, "", False

    def do_PUT(self):
        self.asked.append(self.path)
        known = self.path == "/latest/api/token" and int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) > 0
        self.answer(200 if known and not self.broken else 403, SESSION.encode())

    def do_GET(self):
        self.asked.append(self.path)
        may = self.headers["Authorization"] == AUTHORIZATION if self.path == "/container" else self.headers["X-aws-ec2-metadata-token"] == SESSION
        if self.broken or not may:
            self.answer(401)
        elif self.path == ROLES:
            self.answer(200, ROLE.encode() + b"\n")
        elif self.path in (ROLES + "role%20of%20the%20test", "/container"):
            self.answer(200, json.dumps(self.keys()).encode())
        else:
            self.answer(404)

    def keys(self):
        keys = {"AccessKeyId": S3_SECRETS["AWS_ACCESS_KEY_ID"], "SecretAccessKey": S3_SECRETS["AWS_SECRET_ACCESS_KEY"], "Token": self.token,
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.lasts))}
        return keys if self.path == "/container" else {"Code": "Success", "Type": "AWS-HMAC", **keys}


class Bucket(Quiet):
    """Lets nobody in."""

    seen: list

    def do_GET(self):
        self.seen.append((self.headers["Authorization"], self.headers["x-amz-security-token"]))
        self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
