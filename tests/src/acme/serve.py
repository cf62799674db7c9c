# acme2certifier behind TLS. It validates on the ports that the protocol fixes (53, 80, 443), which belong to others
# here: what goes there on the loopback address goes to ports of ours, as a packet filter would have it.
import os
import socket
import socketserver
import ssl
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

PORTS = {80: int(os.environ["HTTP_PORT"]), 443: int(os.environ["TLS_PORT"])}
connect = socket.socket.connect


def redirected(self, address):
    if isinstance(address, tuple) and address[0] == "127.0.0.1":
        address = (address[0], PORTS.get(address[1], address[1]))
    return connect(self, address)


socket.socket.connect = redirected

import dns.resolver

reset = dns.resolver.BaseResolver.reset


def with_port(self):
    reset(self)
    self.port = int(os.environ["DNS_PORT"])


dns.resolver.BaseResolver.reset = with_port

from acme2certifier.share.acme2certifier_wsgi import application


def https(environ, start_response):
    environ["wsgi.url_scheme"] = "https"
    environ["HTTP_X_FORWARDED_PROTO"] = "https"
    return application(environ, start_response)


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    # The handshake belongs into the connection's own thread: a client that only connects must not stop the others.
    def finish_request(self, request, address):
        request.settimeout(30)
        with context.wrap_socket(request, server_side=True) as tls:
            self.RequestHandlerClass(tls, address, self)

    def handle_error(self, request, address):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ["TLS_CERT"], os.environ["TLS_KEY"])
make_server("127.0.0.1", int(os.environ["PORT"]), https, Server, WSGIRequestHandler).serve_forever()
