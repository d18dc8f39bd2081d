"""XenStore's wire protocol (Xen's xen/include/public/io/xs_wire.h), as far as the lab needs it.

The same bytes go through the guest kernel's device and through xenstored's socket in dom0.
"""

import os
import select
import socket
import struct

DIRECTORY, READ, WATCH, WRITE, RM, WATCH_EVENT, ERROR = 1, 2, 4, 11, 13, 15, 16
HEADER = struct.Struct("<IIII")  # type, request id, transaction id, length
MAX_PAYLOAD = 4096


class StoreError(Exception):
    pass


class Store:
    def __init__(self):
        self.events = []
        if os.path.exists("/run/xenstored/socket"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect("/run/xenstored/socket")
            self.fd = sock.detach()
        else:
            self.fd = os.open("/dev/xen/xenbus", os.O_RDWR)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            part = os.read(self.fd, count - len(data))
            if not part:
                raise OSError("XenStore closed the connection")
            data += part
        return data

    def _message(self):
        kind, _, _, length = HEADER.unpack(self._exactly(HEADER.size))
        return kind, self._exactly(length)

    def _request(self, kind, body):
        if len(body) > MAX_PAYLOAD:
            raise StoreError("E2BIG")
        os.write(self.fd, HEADER.pack(kind, 0, 0, len(body)) + body)
        while True:
            answer, body = self._message()
            if answer == WATCH_EVENT:
                self.events.append(body)
            elif answer == ERROR:
                raise StoreError(body.rstrip(b"\0").decode())
            else:
                return body

    def read(self, path):
        """The node's bytes, or None if there is none."""
        try:
            return self._request(READ, path.encode() + b"\0")
        except StoreError:
            return None

    def list(self, path):
        names = self._request(DIRECTORY, path.encode() + b"\0")
        return [name.decode() for name in names.split(b"\0") if name]

    def write(self, path, value):
        self._request(WRITE, path.encode() + b"\0" + value)

    def remove(self, path):
        try:
            self._request(RM, path.encode() + b"\0")
        except StoreError:
            pass

    def watch(self, path):
        self._request(WATCH, path.encode() + b"\0watch\0")

    def wait_event(self, timeout=None):
        """Until a watch fires, or for so many seconds. The kernel fires all watches again after a resume, too."""
        if self.events:
            return self.events.pop(0)
        if timeout is not None and not select.select([self.fd], [], [], timeout)[0]:
            return None
        while True:
            kind, body = self._message()
            if kind == WATCH_EVENT:
                return body
