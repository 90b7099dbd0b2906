"""A WebSocket client of a few lines, for checks that want to see each step of a connection."""

import os
import socket
import struct

ADDRESS = ("127.0.0.1", 9001)
PATIENCE = 20


class Ended(Exception):
    """The server has ended the connection, or the connection was reset."""


class Client:
    def __init__(self, path="/echo"):
        self.socket = socket.create_connection(ADDRESS, timeout=PATIENCE)
        self.buffer = b""
        try:
            self.socket.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {ADDRESS[0]}:{ADDRESS[1]}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
            head = self._until(b"\r\n\r\n")
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Ended(str(error)) from None
        if not head.startswith(b"HTTP/1.1 101 "):
            raise AssertionError(f"no handshake: {head!r}")

    def _fill(self):
        try:
            got = self.socket.recv(1 << 16)
        except ConnectionResetError as error:
            raise Ended(str(error)) from None
        if not got:
            raise Ended("end of stream")
        self.buffer += got

    def _until(self, mark):
        while mark not in self.buffer:
            self._fill()
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _take(self, count):
        while len(self.buffer) < count:
            self._fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, text):
        payload, mask = text.encode(), os.urandom(4)
        assert len(payload) < 126
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)

    def frame(self):
        """Opcode and payload of the next frame."""
        first, length = self._take(2)
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return first & 0x0F, self._take(length)

    def echo(self, text):
        self.send(text)
        assert self.frame() == (1, text.encode()), "another echo"

    def close_code(self):
        """Reads up to the Close, and gives its code."""
        while True:
            opcode, payload = self.frame()
            if opcode == 8:
                return struct.unpack("!H", payload[:2])[0]

    def end(self):
        self.socket.close()
