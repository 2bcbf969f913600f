"""A TCP proxy before Redis that speaks TLS to clients, as hosted servers do; without a certificate, which would have to be made."""

import contextlib
import socket
import ssl

from tests.support.silent_proxy import SilentProxy

_CIPHERS = "AECDH:@SECLEVEL=0"


class TlsProxy(SilentProxy):
    """Passes everything on."""

    @property
    def url(self) -> str:
        """The same URL, through the proxy."""
        return f"{super().url.replace('redis:', 'rediss:')}?ssl_cert_reqs=none&ssl_ciphers={_CIPHERS}"

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # The last version of TLS in which a server may do without a certificate.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        with server, contextlib.suppress(OSError):
            super()._pass_on(context.wrap_socket(client, server_side=True), server)
