"""A company's proxies on loopback, through which every name leads to the sites: one over TLS, one that speaks SOCKS5.

Usage: proxies.py CERT KEY HTTPS_PORT HTTP_PORT LOG; prints the two ports, then serves until its input ends. Both let in
"me" with the password "canary-0123" only. What is asked is written to LOG: "tls FIRST-LINE", "socks NAME:PORT".
"""

import base64
import socket
import ssl
import struct
import sys
import threading

CERT, KEY, HTTPS, HTTP, LOG = sys.argv[1:6]
NAME, PASSWORD = b"me", b"canary-0123"
LOGIN = b"Basic " + base64.b64encode(NAME + b":" + PASSWORD)
log = open(LOG, "a", buffering=1)


def site(port):
    return socket.create_connection(("127.0.0.1", int(HTTPS if port == 443 else HTTP)))


def one_way(here, there):
    try:
        while piece := here.recv(65536):
            there.sendall(piece)
        there.shutdown(socket.SHUT_WR)
    except (OSError, ValueError):
        pass


def both_ways(client, server):
    back = threading.Thread(target=one_way, args=(server, client))
    back.start()
    one_way(client, server)
    back.join()


def exactly(client, size):
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise OSError("gone")
        data += piece
    return data


def tls(raw):
    client = context.wrap_socket(raw, server_side=True)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(client, 1)
    lines = head.split(b"\r\n")
    log.write("tls " + lines[0].decode() + "\n")
    if LOGIN not in head:
        client.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    method, target, _ = lines[0].split(b" ")
    if method == b"CONNECT":
        client.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
        both_ways(client, site(443))
    else:
        path = b"/" + target.split(b"/", 3)[3]
        server = site(80)
        server.sendall(head.replace(target, path, 1))
        both_ways(client, server)


def socks(client):
    _, count = exactly(client, 2)
    if 2 not in exactly(client, count):
        client.sendall(b"\x05\xff")
        return
    client.sendall(b"\x05\x02")
    _, size = exactly(client, 2)
    name = exactly(client, size)
    password = exactly(client, exactly(client, 1)[0])
    known = (name, password) == (NAME, PASSWORD)
    client.sendall(b"\x01\x00" if known else b"\x01\x01")
    if not known:
        return
    _, _, _, kind = exactly(client, 4)
    if kind != 3:
        client.sendall(b"\x05\x08\x00\x01" + bytes(6))
        return
    host = exactly(client, exactly(client, 1)[0])
    (port,) = struct.unpack("!H", exactly(client, 2))
    log.write(f"socks {host.decode()}:{port}\n")
    client.sendall(b"\x05\x00\x00\x01" + bytes(6))
    both_ways(client, site(port))


def guarded(kind, client):
    try:
        kind(client)
    except OSError:
        pass
    finally:
        client.close()


def serve(kind):
    listener = socket.create_server(("127.0.0.1", 0))

    def loop():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=guarded, args=(kind, client), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
print(serve(tls), serve(socks), flush=True)
sys.stdin.read()
