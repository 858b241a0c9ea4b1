"""A wire between loader and server that breaks at a COMMIT."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum, auto

import psycopg
from psycopg.conninfo import make_conninfo

_COMMIT = b"COMMIT\0"


class Break(StrEnum):
    """What happens at the COMMIT."""

    COMMIT_IS_LOST = auto()  # The server sees its client go away, and rolls back.
    ANSWER_IS_LOST = auto()  # The server has committed; the client doesn't know.
    SERVER_DOES_NOT_NOTICE = auto()  # It gets no COMMIT, and keeps the session: a network that drops everything.
    NOBODY_NOTICES = auto()  # Neither side hears of the other again, nor of its end; nor is any new connection served.


class Wire:
    """Carries connections to a server, and breaks once."""

    def __init__(self, database: str, kind: Break, nth: int) -> None:
        with psycopg.connect(database) as connection:
            self._host, self._port = connection.info.host, connection.info.port
        self._kind = kind
        self._left = nth
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.conninfo = make_conninfo(database, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        self.is_broken = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End everything, also what the server has kept."""
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_broken and self._kind is Break.NOBODY_NOTICES:
                    self._sockets.append(client)
                    continue
                server = self._connect()
                self._sockets += [client, server]
                threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client), daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if data.endswith(_COMMIT) and self._breaks_now():
                    self._break(client, server, data)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _breaks_now(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0

    def _break(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if self._kind is Break.NOBODY_NOTICES:
            self.is_broken = True
            return
        # First the client's side, so that no answer can reach it.
        client.shutdown(socket.SHUT_RDWR)
        if self._kind is Break.ANSWER_IS_LOST:
            server.sendall(data)
        if self._kind is not Break.SERVER_DOES_NOT_NOTICE:
            server.shutdown(socket.SHUT_WR)  # It answers what it has, sees the end, and ends the session.
        self.is_broken = True

    @staticmethod
    def _carry(server: socket.socket, client: socket.socket) -> None:
        while True:
            try:
                data = server.recv(1 << 16)
            except OSError:
                return
            with suppress(OSError):  # Without a client, what the server says is lost.
                client.sendall(data) if data else client.shutdown(socket.SHUT_RDWR)
            if not data:
                return


@contextmanager
def wire(database: str, kind: Break, nth: int) -> Iterator[Wire]:
    """A wire to a database's server that breaks at the nth COMMIT."""
    made = Wire(database, kind, nth)
    try:
        yield made
    finally:
        made.close()
