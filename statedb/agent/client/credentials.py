"""The credentials of a client and the authority that it trusts: a token and certificates, from files."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

import msgspec

from ..address import Address
from ..errors import AgentError, BadRequest, Denied, Unreachable
from ..pem import InvalidPem, load_authority, load_chain

_FILE_BYTES_MAX = 1 << 20
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)  # X509_V_ERR_*: self-signed, or the issuer is not found
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME = (62, 64)  # the host name, or the IP address, is not in the certificate
_CERTIFICATE = "give --cert-file and --key-file (STATEDB_CERT_FILE, STATEDB_KEY_FILE)"
_TOKEN = "give --token-file (STATEDB_TOKEN_FILE)"
_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"wants a client certificate; {_CERTIFICATE}",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "refuses the client certificate: it has expired; renew it",
    "TLSV1_ALERT_UNKNOWN_CA": "refuses the client certificate: it does not know who signed it; use another one",
    "SSLV3_ALERT_BAD_CERTIFICATE": "refuses the client certificate; use another one",
}
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class Credentials(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Names of files. They are read for each request, so that renewed ones are used at once.

    ``ca_file``: the authority of agents' certificates, in PEM; by default those that the system trusts. ``cert_file``
    and ``key_file``: the client's certificate; the key may also be in the file of the certificate. ``token_file``: a
    bearer token; empty lines and lines that start with ``#`` are skipped.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    token_file: str | None = None

    def check(self, address: Address) -> None:
        """Raise BadRequest if they cannot be used at this address."""
        if self.key_file and not self.cert_file:
            raise BadRequest("there is a key file but no certificate; give --cert-file (STATEDB_CERT_FILE) as well")
        if self.token_file and not address.secure and not address.is_local:
            raise BadRequest(f"a token is not sent to {address}, where others may read it; write https://")

    def headers(self) -> dict[str, str]:
        """The header ``Authorization``, if there is a token. Raises BadRequest."""
        return {} if self.token_file is None else {"Authorization": f"Bearer {_token(self.token_file)}"}

    def context(self) -> ssl.SSLContext:
        """A context for one connection. Raises BadRequest for a bad file."""
        option = "ca-file"
        try:
            if self.ca_file is None:
                context = ssl.create_default_context()  # trusts the authorities of the system
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                load_authority(context, self.ca_file)
            if self.cert_file is not None:
                option = "cert-file, key-file"
                load_chain(context, self.cert_file, self.key_file)
        except InvalidPem as error:
            raise BadRequest(f"{option}: {error}") from None
        context.set_alpn_protocols(["http/1.1"])
        return context


def refusal(address: Address, status: int, error: str) -> Denied:
    """The error for a response with the status 401 or 403."""
    if status == 401:
        return Denied(f"{address} answers 401: {error}; {_TOKEN}, or {_CERTIFICATE.removeprefix('give ')}")
    return Denied(f"{address} answers 403: {error}")


def tls_failure(address: Address, error: OSError | http.client.HTTPException) -> AgentError | None:
    """The error if TLS failed; None for other errors."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Denied(f"the certificate of {address} is not valid: {_certificate_problem(address, error)}")
    if isinstance(error, ssl.SSLError):
        if error.reason in _PLAIN:
            return Unreachable(f"what answers at {address} does not speak TLS; write http://")
        if error.reason in _ALERTS:
            return Denied(f"{address} {_ALERTS[error.reason]}")
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        if address.secure:
            return Denied(
                f"{address} ended the connection: it may want a client certificate, or another one; {_CERTIFICATE}"
            )
        if not address.path:
            return Unreachable(f"{address} ended the connection without an answer; if it has http.tls, write https://")
    return None


def _certificate_problem(address: Address, error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        return "its authority is unknown; give the file of its authority with --ca-file (STATEDB_CA_FILE)"
    if code == _EXPIRED:
        return "it has expired; renew it at the agent"
    if code == _NOT_YET_VALID:
        return "it is not valid yet; check the clocks"
    if code in _OTHER_NAME:
        return f"it is not for {address.host!r}; use a name that it contains"
    return error.verify_message


def _token(path: str) -> str:
    """The first token in a file. Raises BadRequest."""
    try:
        with Path(path).open("rb") as file:
            lines = file.read(_FILE_BYTES_MAX).decode("ascii").splitlines()
    except OSError as error:
        raise BadRequest(f"token-file: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadRequest(f"token-file: {path} is not a token: it has characters other than ASCII") from None
    tokens = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not tokens:
        raise BadRequest(f"token-file: {path} has no token; write it on a line of its own")
    return tokens[0]
